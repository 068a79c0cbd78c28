/** A file that holds a DiscoveryResponse (Envoy X-101): its syntax, by its name. When it is read is left to its owner. */
import { ProtoProblem } from '../proto/any.ts';
import { responseFromBytes, responseFromJson } from '../proto/discovery-json.ts';
import type { TextResponse } from '../proto/discovery-json.ts';
import { parseEnvoyYaml } from './envoy-yaml.ts';

/**
 * `.pb`: binary; everything else is YAML, and so also JSON. `typeUrl`: what the file should hold; where it does not say, it is that.
 * Yields between resources so that the work can be spread. Throws an `Error` whose message says what is wrong.
 */
export function* readConfigFile(content: Buffer, path: string, typeUrl: string): Generator<undefined, TextResponse> {
  if (path.endsWith('.pb_text')) throw new ProtoProblem('text proto is not supported; write YAML, JSON or binary (.pb)');
  const response = path.endsWith('.pb') ? responseFromBytes(content, typeUrl) : yield* responseFromJson(parse(content, path), typeUrl);
  if (response.typeUrl !== typeUrl)
    throw new ProtoProblem(`holds resources of type "${response.typeUrl}", and "${typeUrl}" is what is subscribed`);
  return response;
}

function parse(content: Buffer, path: string): unknown {
  const text = content.toString('utf8');
  // The parser of YAML takes far longer; what it says about mistakes is better.
  if (/^\s*\{/.test(text)) {
    try {
      return JSON.parse(text);
    } catch {
      // Flow style of YAML looks alike.
    }
  }
  return parseEnvoyYaml(text, path, 'configuration file');
}
