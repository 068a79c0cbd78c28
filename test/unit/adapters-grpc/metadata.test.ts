import { Metadata } from '@grpc/grpc-js';
import { describe, expect, test } from 'vitest';
import { MetadataView } from '../../../src/adapters/grpc/metadata.ts';

describe('metadata as headers', () => {
  test('values are joined, binary ones are base64', () => {
    const metadata = new Metadata();
    metadata.add('x-a', '1');
    metadata.add('x-a', '2');
    metadata.set('x-b-bin', Buffer.from([1, 2, 3]));
    const view = new MetadataView(metadata, false);
    expect(view.get('x-a')).toBe('1,2');
    expect(view.get('x-b-bin')).toBe('AQID');
    expect(view.get('x-none')).toBeUndefined();
    expect([view.has('x-a'), view.has('x-none')]).toEqual([true, false]);
    expect([...view.entries()]).toEqual([
      ['x-a', '1'],
      ['x-a', '2'],
      ['x-b-bin', 'AQID'],
    ]);
  });

  test('reading copies nothing; the first write copies once, and the original stays', () => {
    const metadata = new Metadata({ waitForReady: true });
    metadata.set('x-a', '1');
    const view = new MetadataView(metadata, false);
    view.remove('x-none');
    expect(view.metadata).toBe(metadata);
    view.set('x-a', '2');
    view.append('x-a', '3');
    view.set('x-c-bin', 'AQID');
    const copy = view.metadata;
    expect(copy).not.toBe(metadata);
    view.remove('x-a');
    expect(view.metadata).toBe(copy);
    expect(copy.get('x-a')).toEqual([]);
    expect(copy.get('x-c-bin')).toEqual([Buffer.from([1, 2, 3])]);
    expect(copy.getOptions()).toEqual({ waitForReady: true });
    expect(metadata.get('x-a')).toEqual(['1']);
  });

  test('own metadata is written in place; what HTTP/2 refuses does not throw', () => {
    const metadata = new Metadata();
    const view = new MetadataView(metadata, true);
    view.set('x-a', 'grün\n');
    view.set(':path', '/x');
    expect(view.metadata).toBe(metadata);
    expect(metadata.get('x-a')).toEqual(['gr?n?']);
    expect(metadata.get(':path')).toEqual([]);
  });
});
