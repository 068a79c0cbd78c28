import { createServer } from 'node:http';
import { writeFileSync } from 'node:fs';
import { createMesh } from './src/index.ts';
let n=0;const seen=[];
const s=createServer((q,r)=>{const p=[];q.on('data',d=>p.push(d));q.on('end',()=>{n++;seen.push(Buffer.concat(p).toString());if(q.url.startsWith('/slow'))return;r.writeHead(n%2?503:200).end('reply '+n)})});
await new Promise(r=>s.listen(0,'127.0.0.1',r));const port=s.address().port;
writeFileSync('/tmp/ab/d.yaml',`version: 1
services:
  shop:
    endpoints: ["127.0.0.1:1", "127.0.0.1:${port}"]
    retries: { attempts: 6, on: [connect-failure, 503], backoff: { base: 1ms } }
  one:
    endpoints: ["127.0.0.1:${port}"]
    routes:
      - { match: { path: /slow }, timeout: 40ms }
      - { match: { path: /moved }, redirect: { path: /there } }
  empty: {}
`);
const mesh=await createMesh({config:'/tmp/ab/d.yaml',watch:false,observers:[{onAttemptEnd:(a)=>console.log('  attempt',a.number,a.endpoint?.address,a.status,a.failure?.kind.details,a.call.body.replayable),onCallEnd:c=>console.log('  call end',c.status,c.flags)}]});
const log=async(n,f)=>{const r=await Promise.race([f(),new Promise(r=>setTimeout(r,1500,'HANG'))]);console.log(n,r==='HANG'?r:[r.status,r.headers.get('x-inmesh-failure'),await r.text()])};
import { MeshEngine } from './src/mesh.ts';
const o=MeshEngine.prototype.open;MeshEngine.prototype.open=function(c){const r=o.call(this,c);setTimeout(()=>console.log('   timer',c.timer,c.timeLimit?.message,c.deadline,c.cancelled?.message,'direct',c.target?.direct!==undefined),100);return r};
await log('slow',()=>mesh.fetch('http://one/slow'));await log('str',()=>mesh.fetch('http://shop/a',{method:'POST',body:'text'}));
await log('stream',()=>fetch('http://shop/a',{method:'POST',body:new Blob(['streamed']).stream(),duplex:'half',dispatcher:mesh.dispatcher}));
await log('empty',()=>mesh.fetch('http://empty/'));
await log('none',()=>mesh.fetch('http://one/none'));
await log('slow',()=>mesh.fetch('http://one/slow'));
await log('moved',()=>mesh.fetch('http://one/moved',{redirect:'manual'}));
console.log(seen);
await Promise.race([mesh.close(),new Promise(r=>setTimeout(r,1500)).then(()=>console.log('close hangs'))]);process.exit();
