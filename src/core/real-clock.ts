/**
 * The real `Clock`: timers of equal delay share a queue, and one Node timer drives each queue's head,
 * because a `setTimeout` and `clearTimeout` pair per call would cost more than the rest of the mesh.
 * The only module that may call Node's timers.
 */
import { performance } from 'node:perf_hooks';
import type { Alarm, Clock, Timer } from './clock.ts';

const NO_ALARM: Alarm = { onAlarm: () => undefined };

class QueuedTimer implements Timer {
  previous: QueuedTimer | undefined;
  next: QueuedTimer | undefined;
  alarm: Alarm | undefined;
  readonly due: number;
  readonly queue: Queue;
  constructor(alarm: Alarm, due: number, queue: Queue) {
    this.previous = undefined;
    this.next = undefined;
    this.alarm = alarm;
    this.due = due;
    this.queue = queue;
  }
}

/** All pending timers of one delay, oldest first: because the delay is equal, they are due in order of arrival. */
class Queue {
  head: QueuedTimer | undefined;
  tail: QueuedTimer | undefined;
  readonly #delayMs: number;
  readonly #background: boolean;
  #driver: NodeJS.Timeout | NodeJS.Immediate | undefined;
  readonly #fire = (): void => this.#run();
  /** Only held: with no timer alive, a full collection would take the optimised code of this class with it. */
  readonly specimen = new QueuedTimer(NO_ALARM, 0, this);

  constructor(delayMs: number, background: boolean) {
    this.#delayMs = delayMs;
    this.#background = background;
  }

  push(alarm: Alarm, now: number): QueuedTimer {
    const { tail } = this;
    // A whole number needs no box of its own.
    // Down, not up: the driver fires at the exact time, and a limit must not come after the same limit of a library below.
    const due = Math.floor(now + this.#delayMs);
    // `now` may be a little old: the order of arrival stays the order of what is due.
    const timer = new QueuedTimer(alarm, tail !== undefined && tail.due > due ? tail.due : due, this);
    if (tail === undefined) {
      this.head = timer;
    } else {
      timer.previous = tail;
      tail.next = timer;
    }
    this.tail = timer;
    if (this.#driver === undefined) this.#arm(this.#delayMs);
    return timer;
  }

  unlink(timer: QueuedTimer): void {
    if (timer.alarm === undefined) return;
    timer.alarm = undefined;
    if (timer.previous === undefined) this.head = timer.next;
    else timer.previous.next = timer.next;
    if (timer.next === undefined) this.tail = timer.previous;
    else timer.next.previous = timer.previous;
    // A timer that somebody still holds must not hold those that came after it.
    timer.previous = undefined;
    timer.next = undefined;
    // A background driver is left running: it is cheaper to let it find an empty queue than to clear it per call.
    if (this.head === undefined && !this.#background && this.#driver !== undefined) {
      this.#disarm(this.#driver);
      this.#driver = undefined;
    }
  }

  /**
   * No delay at all means after one turn of the event loop: Node's shortest timeout is a millisecond. An immediate that is unref'd would
   * wait for some other event, and one turn keeps no process alive.
   */
  #arm(delayMs: number): void {
    if (this.#delayMs === 0) {
      this.#driver = setImmediate(this.#fire);
      return;
    }
    const driver = setTimeout(this.#fire, Math.max(0, Math.ceil(delayMs)));
    if (this.#background) driver.unref();
    this.#driver = driver;
  }

  #disarm(driver: NodeJS.Timeout | NodeJS.Immediate): void {
    if (this.#delayMs === 0) clearImmediate(driver as NodeJS.Immediate);
    else clearTimeout(driver as NodeJS.Timeout);
  }

  #run(): void {
    this.#driver = undefined;
    const now = performance.now();
    try {
      while (this.head !== undefined && this.head.due <= now + 0.5) {
        const { alarm } = this.head;
        this.unlink(this.head);
        alarm?.onAlarm();
      }
    } finally {
      // An alarm that throws must not leave the others of its queue without a driver.
      if (this.head !== undefined && this.#driver === undefined) this.#arm(this.head.due - now);
    }
  }
}

/** Distinct delays kept as queues; beyond this (back-offs are random) a queue is dropped once it is empty. */
const MAX_IDLE_QUEUES = 64;

export class RealClock implements Clock {
  readonly #foreground = new Map<number, Queue>();
  readonly #background = new Map<number, Queue>();
  /** The background queue used last: nearly all calls have the same limit. */
  #lastDelay = -1;
  #last: Queue | undefined;

  now(): number {
    return performance.now();
  }

  wallTime(): number {
    return Date.now();
  }

  set(alarm: Alarm, delayMs: number, background = false, now = performance.now()): Timer {
    if (background && delayMs === this.#lastDelay && this.#last !== undefined) return this.#last.push(alarm, now);
    const delay = Math.min(Math.max(0, Math.ceil(delayMs)), 0x7fff_ffff);
    const queues = background ? this.#background : this.#foreground;
    let queue = queues.get(delay);
    if (queue === undefined) {
      if (queues.size >= MAX_IDLE_QUEUES) {
        for (const [key, idle] of queues) if (idle.head === undefined) queues.delete(key);
      }
      queue = new Queue(delay, background);
      queues.set(delay, queue);
    }
    if (background) {
      this.#lastDelay = delayMs;
      this.#last = queue;
    }
    return queue.push(alarm, now);
  }

  clear(timer: Timer): void {
    if (timer instanceof QueuedTimer) timer.queue.unlink(timer);
  }
}
