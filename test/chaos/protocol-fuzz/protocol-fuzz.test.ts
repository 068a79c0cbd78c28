/**
 * A seeded fuzzer of the xDS client in both dialects against a reference control plane and a reference model: exactly one ACK or NACK for each
 * response, no route to a cluster that is not warm, the cache equal to the model at every step, the mesh equal to the world at the end.
 */
import { expect, test } from 'vitest';
import { Script } from './script.ts';

const SEEDS = 1000;
const STEPS = 24;

test.each(Array.from({ length: 10 }, (_, part) => part))(
  'random worlds, deliveries, damage and outages, part %i',
  async (part) => {
    let [steps, acks, nacks] = [0, 0, 0];
    for (let index = 1; index <= SEEDS / 10; index++) {
      const seed = part * 100 + index;
      const script = new Script(seed);
      try {
        await script.run(STEPS);
      } catch (error) {
        if (error instanceof Error) error.message = `seed ${seed}, step ${script.steps}: ${error.message}`;
        throw error;
      }
      steps += script.steps;
      acks += script.server.acks;
      nacks += script.server.nacks;
    }
    // The fuzzer fuzzes: of both kinds of answers there were many.
    expect(steps).toBe((SEEDS / 10) * STEPS);
    expect(acks).toBeGreaterThan(500);
    expect(nacks).toBeGreaterThan(50);
  },
  120_000,
);
