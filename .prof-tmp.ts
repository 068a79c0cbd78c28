import { spawn } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { request, Agent } from 'undici';
import { createMesh } from './src/index.ts';
const srv=spawn(process.execPath,['/tmp/ab/server.mjs'],{stdio:['pipe','pipe','inherit']});
const port=Number(await new Promise(r=>srv.stdout.once('data',d=>r(String(d)))));
writeFileSync('/tmp/ab/mesh.yaml',`version: 1
services:
  shop:
    endpoints: ["127.0.0.1:${port}"]
    timeout: 15s
    limits: { maxRequests: 1024, maxPending: 1024, maxRetries: 3 }
    outlier: { consecutive5xx: 5, ejection: 30s }
    retries: { attempts: 3, on: [connect-failure, reset, 503] }
`);
const mesh=await createMesh({config:'/tmp/ab/mesh.yaml',watch:false});
const agent=new Agent();
const [url,d]=process.argv[2]==='bare'?[`http://127.0.0.1:${port}/x`,agent]:['http://shop/x',mesh.dispatcher];
const one=async()=>{const r=await request(url,{dispatcher:d});await r.body.text();};
const block=async(n,c)=>{let left=n;await Promise.all(Array.from({length:c},async()=>{while(left-->0)await one()}));};
await block(Number(process.argv[3]??80000),50);
await mesh.close();await agent.close();srv.stdin.end();
