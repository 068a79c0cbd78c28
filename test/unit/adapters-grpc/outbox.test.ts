import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { Outlet } from '../../../src/adapters/grpc/outbox.ts';
import { Outbox } from '../../../src/adapters/grpc/outbox.ts';
import type { WireCall, WireContext } from '../../../src/adapters/grpc/wire.ts';

/** A wire that writes when told to, and notices what grpc-js could not take: a second message before the first is written. */
class FakeOutlet implements Outlet {
  nextMessage = 0;
  writing = false;
  halfClosed = false;
  readonly sent: string[] = [];
  closed = 0;
  readonly wire: WireCall;
  #pending: WireContext | undefined;

  constructor() {
    this.wire = {
      sendMessageWithContext: (context: WireContext, message: Buffer) => {
        expect(this.#pending).toBeUndefined();
        expect(this.closed).toBe(0);
        this.#pending = context;
        this.sent.push(String(message));
      },
      halfClose: () => void this.closed++,
    } as unknown as WireCall;
  }

  write(): boolean {
    const pending = this.#pending;
    this.#pending = undefined;
    pending?.callback?.();
    return pending !== undefined;
  }
}

describe('outbox', () => {
  test('property: whatever the order of events, the last attempt gets every message once, in order, then one half-close; each callback once', () => {
    const event = fc.oneof(
      { weight: 5, arbitrary: fc.constant('push') },
      { weight: 5, arbitrary: fc.constant('write') },
      { weight: 1, arbitrary: fc.constant('attempt') },
      { weight: 1, arbitrary: fc.constant('pause') },
    );
    fc.assert(
      fc.property(fc.array(event, { maxLength: 60 }), fc.boolean(), (events, commits) => {
        const outbox = new Outbox(1 << 20);
        const expected: string[] = [];
        const called: number[] = [];
        let outlet: FakeOutlet | undefined;
        const attempt = (): void => {
          outlet = new FakeOutlet();
          outbox.sendTo(outlet);
        };
        for (const name of events) {
          if (name === 'push') {
            const number = expected.length;
            outbox.push({ callback: () => called.push(number) }, Buffer.from(`m${number}`));
            expected.push(`m${number}`);
          } else if (name === 'write') outlet?.write();
          else if (name === 'attempt') attempt();
          else {
            outbox.stop();
            outlet = undefined;
          }
        }
        if (outlet === undefined) attempt();
        if (commits) outbox.commit();
        outbox.close();
        while (outlet?.write() === true);
        expect(outlet?.sent).toEqual(expected);
        expect(outlet?.closed).toBe(1);
        expect(called.toSorted((a, b) => a - b)).toEqual(expected.map((_, i) => i));
      }),
      { numRuns: 300 },
    );
  });

  test('beyond its limit it keeps nothing that was sent, and says so', () => {
    const outbox = new Outbox(10);
    const outlet = new FakeOutlet();
    outbox.sendTo(outlet);
    outbox.push({}, Buffer.alloc(8));
    outlet.write();
    expect(outbox.complete).toBe(true);
    outbox.push({}, Buffer.alloc(8));
    outlet.write();
    expect(outbox.complete).toBe(false);
  });

  test('a late callback of an abandoned attempt neither sends nor disturbs', () => {
    const outbox = new Outbox(100);
    const [first, second] = [new FakeOutlet(), new FakeOutlet()];
    outbox.sendTo(first);
    outbox.push({}, Buffer.from('a'));
    outbox.push({}, Buffer.from('b'));
    outbox.sendTo(second);
    first.write();
    expect(first.sent).toEqual(['a']);
    second.write();
    expect(second.sent).toEqual(['a', 'b']);
  });
});
