/** The public test kit: `inmesh/testing`. */
export { FakeClock, settle } from './fake-clock.ts';
export { ScriptedRandom, SeededRandom } from './seeded-random.ts';
