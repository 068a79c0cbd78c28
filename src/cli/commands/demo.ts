/** `inmesh demo`: the tour. What it shows is in `../demo/`. */
import type { Command } from '../command.ts';

export const demo: Command = {
  name: 'demo',
  summary: 'Shows the mesh at work in about 20 seconds: real processes, a control plane, load and faults.',
  usage: '',
  options: [],
  example: 'npx inmesh demo',
  async run(args, terminal) {
    const { runDemo } = await import('../demo/demo.ts');
    return runDemo(args, terminal);
  },
};
