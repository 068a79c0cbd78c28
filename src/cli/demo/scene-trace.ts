/** Scene 5: one request, followed through all processes by the spans that they sent here. */
import { randomBytes } from 'node:crypto';
import type { Span } from './messages.ts';
import { traceparent } from './spans.ts';
import type { Screen } from './screen.ts';
import type { Scene } from './stage.ts';

/** From the user's request down to the last server: process, kind, protocol. */
const EXPECTED = [
  'web server http',
  'web client http',
  'cart server http',
  'cart client grpc',
  'stock server grpc',
  'stock client http',
  'prices server http',
];

export const traceScene: Scene = {
  title: 'one trace',
  intro: 'One request, followed by its W3C trace context; no SDK takes part.',
  async play(stage) {
    const { crew, screen, load } = stage;
    const traceId = randomBytes(16).toString('hex');
    const user = randomBytes(8).toString('hex');
    const sample = await load.send({ traceparent: traceparent(traceId, user) });
    const mine = (): Span[] => crew.spans.filter((span) => span.traceId === traceId);
    await stage.until(2000, 20, () => Promise.resolve(mine().length >= EXPECTED.length));
    const chain = follow(mine(), user);
    for (const line of drawTrace(chain, screen)) screen.line(line);
    const shape = chain.map(({ process, kind, protocol }) => `${process.replace(/-.*/, '')} ${kind} ${protocol}`);
    const whole =
      shape.join() === EXPECTED.join() && mine().length === EXPECTED.length && chain.every(({ ok }) => ok) && sample.error === '';
    const processes = new Set(chain.map(({ process }) => process)).size;
    stage.check(whole, `${chain.length} spans of ${processes} processes, each the child of the one above`);
    return { measured: `fetch > gRPC > fetch: ${chain.length} spans in ${processes} processes`, held: whole };
  },
};

/** The spans in order of descent, as far as each names the one before as its parent. */
function follow(spans: readonly Span[], root: string): readonly Span[] {
  const chain: Span[] = [];
  for (let next = spans.find((span) => span.parentId === root); next !== undefined;) {
    const { id } = next;
    chain.push(next);
    next = spans.find((span) => span.parentId === id);
  }
  return chain;
}

const BAR = 22;

/** A line per span: process, what it did, where in time, how long. */
export function drawTrace(chain: readonly Span[], screen: Screen): readonly string[] {
  const [first] = chain;
  if (first === undefined) return [];
  const scale = BAR / Math.max(first.end - first.start, 0.001);
  const sign = screen.unicode ? '━' : '=';
  return chain.map((span, depth) => {
    const from = Math.min(BAR - 1, Math.max(0, Math.floor((span.start - first.start) * scale)));
    const length = Math.min(BAR - from, Math.max(1, Math.round((span.end - span.start) * scale)));
    const bar =
      ' '.repeat(from) + screen.paint(span.kind === 'server' ? 'first' : 'second', sign.repeat(length)) + ' '.repeat(BAR - from - length);
    const verb = span.kind === 'server' ? 'serves' : span.protocol === 'grpc' ? 'gRPC' : 'fetch';
    const what = `${' '.repeat(depth)}${verb} ${span.title}`.slice(0, 31).padEnd(31);
    return `   ${span.process.padEnd(10)} ${what} ${bar} ${(span.end - span.start).toFixed(2).padStart(6)} ms`;
  });
}
