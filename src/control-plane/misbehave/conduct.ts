/**
 * How one stream behaves: stands between the stream's protocol and the wire, and does the steps of a script when their time has come. Which
 * steps are used up altogether is `Misbehaviour`'s business, what a response is changed into `twist.ts`'s.
 */
import type { Alarm, Clock, Timer } from '../../core/clock.ts';
import type { Audience, ServerStream } from '../stream.ts';
import { GrpcStatus } from '../../core/status.ts';
import type { Refusal } from '../refusal.ts';
import { Overlay } from './overlay.ts';
import type { Step } from './script.ts';
import { DEEDS, typeOf } from './script.ts';
import type { AnyResponse, Draft } from './twist.ts';
import { encodeDraft, twist } from './twist.ts';

/** The wire and the connection behind it. */
export interface Port {
  write(bytes: Buffer): void;
  end(refusal: Refusal): void;
  hang(): void;
  revive(): void;
  cut(): void;
}

/** A step with what is left of it, shared by all streams. */
export interface Running {
  readonly step: Step;
  left: number;
  readonly node: RegExp | undefined;
}

/** The wire nonces of a type, as far as they may still be answered. */
interface Sent {
  count: number;
  lastNonce: string | undefined;
  /** As it went out; for those who are sent it again. */
  last: AnyResponse | undefined;
  /** Nonces that stand for another one inside. */
  readonly aliases: Map<string, string>;
}

/** What was written before a connection goes dead is on its way by then. */
const FLUSH_MS = 20;
/** Nonces of a type that may still be answered. */
const MOST_ALIASES = 100;

function alias({ aliases }: Sent, nonce: string, inner: string): void {
  aliases.delete(nonce);
  aliases.set(nonce, inner);
  const [oldest] = aliases.keys();
  if (aliases.size > MOST_ALIASES && oldest !== undefined) aliases.delete(oldest);
}

class Delayed implements Alarm {
  readonly #run: () => void;
  constructor(run: () => void) {
    this.#run = run;
  }
  onAlarm(): void {
    this.#run();
  }
}

export class Conduct {
  readonly #clock: Clock;
  readonly #port: Port;
  readonly #overlay = new Overlay();
  readonly #timers = new Set<Timer>();
  /** How to make good what is wrong now. */
  readonly #undos = new Set<() => void>();
  readonly #sent = new Map<string, Sent>();
  readonly #done = new Set<Running>();
  readonly #due = new Set<Running>();
  /** Types whose refused responses are repeated; `undefined`: all. */
  readonly #repeats = new Set<string | undefined>();
  #steps: readonly Running[] = [];
  #stream: ServerStream | undefined;
  #audience: Audience | undefined;
  #total = 0;
  #nonces = 0;
  #readyAt = 0;
  #ended = false;

  constructor(clock: Clock, port: Port) {
    this.#clock = clock;
    this.#port = port;
  }

  /** The stream that is led, and what it does from now on. */
  begin(stream: ServerStream, steps: readonly Running[]): void {
    this.#stream = stream;
    this.restart(steps);
  }

  /** Another script: counts and times begin anew. */
  restart(steps: readonly Running[]): void {
    this.#stop();
    for (const undo of this.#undos) undo();
    this.#undos.clear();
    this.#steps = steps;
    this.#done.clear();
    this.#due.clear();
    this.#total = 0;
    for (const sent of this.#sent.values()) sent.count = 0;
    for (const running of steps) {
      const { afterMs } = running.step;
      if (afterMs !== undefined) this.#later(afterMs, () => this.#comeDue(running));
    }
    this.#act();
  }

  /** What the node is served, as the stream shall see it. */
  audience(audience: Audience): Audience {
    this.#audience = audience;
    const overlay = this.#overlay;
    return {
      get receiver() {
        return audience.receiver;
      },
      catalogue: () => overlay.over(audience.catalogue(), audience.previous?.()),
    };
  }

  /** The nonce as the stream knows it. To be asked before the request is taken. */
  nonceOf(typeUrl: string, nonce: string): string {
    return this.#sent.get(typeUrl)?.aliases.get(nonce) ?? nonce;
  }

  /** After the stream has taken a request. */
  onRequest(typeUrl: string, refused: boolean): void {
    const last = this.#sent.get(typeUrl)?.last;
    if (refused && last !== undefined && (this.#repeats.has(typeUrl) || this.#repeats.has(undefined))) {
      this.#out({ response: this.#again(last), delayMs: 0, padding: 0 });
    }
    // Only now is it known which node this is.
    this.#act();
  }

  /** A response is due. */
  send(response: AnyResponse): void {
    const { typeUrl } = response;
    const sent = this.#of(typeUrl);
    let drafts: readonly Draft[] = [{ response, delayMs: 0, padding: 0 }];
    let repairMs: number | undefined;
    for (const running of this.#steps) {
      const { step } = running;
      if (DEEDS[step.do].kind !== 'twist' || !this.#fits(running, typeUrl)) continue;
      const ready = step.afterMs === undefined ? this.#countOf(step) >= (step.after ?? 0) : this.#due.has(running);
      if (!ready || running.left <= 0) continue;
      running.left--;
      repairMs = step.repairMs ?? repairMs;
      drafts = drafts.flatMap((draft) => twist(draft, step, this.#context(sent)));
    }
    sent.count++;
    this.#total++;
    for (const draft of drafts) {
      const { nonce, typeUrl: outer } = draft.response;
      if (outer === typeUrl && nonce !== response.nonce) alias(sent, nonce, response.nonce);
      this.#out(draft);
    }
    sent.lastNonce = response.nonce;
    if (repairMs !== undefined) this.#later(repairMs, () => this.#out({ response: this.#again(response), delayMs: 0, padding: 0 }));
    this.#act();
  }

  close(): void {
    this.#ended = true;
    this.#stop();
  }

  #stop(): void {
    for (const timer of this.#timers) this.#clock.clear(timer);
    this.#timers.clear();
  }

  #of(typeUrl: string): Sent {
    let sent = this.#sent.get(typeUrl);
    if (sent === undefined) {
      sent = { count: 0, lastNonce: undefined, last: undefined, aliases: new Map() };
      this.#sent.set(typeUrl, sent);
    }
    return sent;
  }

  #context(sent: Sent) {
    return {
      lastNonce: sent.lastNonce,
      freshNonce: () => `again-${++this.#nonces}`,
      others: (typeUrl: string, names: ReadonlySet<string>) => {
        const audience = this.#audience;
        const catalogue = audience?.catalogue();
        if (audience === undefined || catalogue === undefined) return [];
        return catalogue
          .names(typeUrl)
          .filter((name) => !names.has(name))
          .flatMap((name) => catalogue.get(typeUrl, name, audience.receiver) ?? []);
      },
    };
  }

  /** The same with a nonce of its own, whose answer counts as the answer to it. */
  #again(response: AnyResponse): AnyResponse {
    const nonce = `again-${++this.#nonces}`;
    const sent = this.#of(response.typeUrl);
    alias(sent, nonce, sent.aliases.get(response.nonce) ?? response.nonce);
    return { ...response, nonce };
  }

  /** In order, whatever is late. */
  #out(draft: Draft): void {
    const now = this.#clock.now();
    const at = Math.max(now + draft.delayMs, this.#readyAt);
    const write = (): void => {
      if (this.#ended) return;
      this.#of(draft.response.typeUrl).last = draft.response;
      this.#port.write(encodeDraft(draft));
    };
    if (at <= now) write();
    else {
      this.#readyAt = at;
      this.#later(at - now, write);
    }
  }

  #fits({ step, node }: Running, typeUrl: string | undefined): boolean {
    const type = typeOf(step);
    if (typeUrl !== undefined && type !== undefined && type !== typeUrl) return false;
    return node === undefined || (this.#stream !== undefined && this.#stream.nodeId !== '' && node.test(this.#stream.nodeId));
  }

  #countOf(step: Step): number {
    const type = typeOf(step);
    return type === undefined ? this.#total : (this.#sent.get(type)?.count ?? 0);
  }

  #comeDue(running: Running): void {
    this.#due.add(running);
    this.#act();
  }

  /** Does what is due by itself, each step once on a stream. */
  #act(): void {
    for (const running of this.#steps) {
      const { step } = running;
      if (this.#ended || DEEDS[step.do].kind !== 'act' || this.#done.has(running) || running.left <= 0) continue;
      const ready = step.afterMs === undefined ? this.#countOf(step) >= (step.after ?? 0) : this.#due.has(running);
      if (!ready || !this.#fits(running, undefined)) continue;
      running.left--;
      this.#done.add(running);
      const undo = this.#perform(step);
      if (undo === undefined) continue;
      this.#undos.add(undo);
      if (step.forMs !== undefined) {
        this.#later(step.forMs, () => {
          this.#undos.delete(undo);
          undo();
        });
      }
    }
  }

  /** How to make it good again; undefined: that cannot be. */
  #perform(step: Step): (() => void) | undefined {
    const type = typeOf(step);
    const stream = this.#stream;
    switch (step.do) {
      case 'silence':
        stream?.pause(type);
        return () => stream?.resume(type);
      case 'empty':
      case 'older-version': {
        this.#overlay.set(type, step.do);
        stream?.update(type === undefined ? new Set(this.#sent.keys()) : new Set([type]));
        return () => {
          this.#overlay.set(type, undefined);
          stream?.update();
        };
      }
      case 'repeat-on-nack':
        this.#repeats.add(type);
        return () => void this.#repeats.delete(type);
      case 'hang':
        this.#later(FLUSH_MS, () => this.#port.hang());
        return () => this.#port.revive();
      case 'disconnect':
        this.#later(FLUSH_MS, () => this.#port.cut());
        return undefined;
      default: {
        const { code = 'UNAVAILABLE', message = 'reset by a misbehave script' } = step;
        this.#port.end({ code: GrpcStatus[code], details: message });
        return undefined;
      }
    }
  }

  #later(ms: number, run: () => void): void {
    const timer = this.#clock.set(
      new Delayed(() => {
        this.#timers.delete(timer);
        run();
      }),
      ms,
      true,
    );
    this.#timers.add(timer);
  }
}
