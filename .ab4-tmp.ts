import { spawn } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { request, Agent } from 'undici';
import { createMesh } from './src/index.ts';
const srv=spawn(process.execPath,['/tmp/ab/server.mjs'],{stdio:['pipe','pipe','inherit']});
const port=Number(await new Promise(r=>srv.stdout.once('data',d=>r(String(d)))));
const common=`endpoints: ["127.0.0.1:${port}"]
    timeout: 15s
    limits: { maxRequests: 1024, maxPending: 1024, maxRetries: 3 }
    outlier: { consecutive5xx: 5, ejection: 30s }
    retries: { attempts: 3, on: [connect-failure, reset, 503] }`;
writeFileSync('/tmp/ab/mesh4.yaml',`version: 1
services:
  shop:
    ${common}
  broken:
    ${common}
    breaker: { errorRate: 50% }
`);
const mesh=await createMesh({config:'/tmp/ab/mesh4.yaml',watch:false});
const agent=new Agent();
const one=async(url,dispatcher)=>{const r=await request(url,{dispatcher});await r.body.text();};
const block=async(url,d,n,c)=>{let left=n;await Promise.all(Array.from({length:c},async()=>{while(left-->0)await one(url,d)}));};
const V={A:[`http://127.0.0.1:${port}/x`,agent],C:[`http://127.0.0.1:${port}/x`,agent],B:['http://shop/x',mesh.dispatcher],D:['http://broken/x',mesh.dispatcher]};
for(let i=0;i<3;i++)for(const k in V)await block(...V[k],6000,50);
for(const c of [50,1]){
 const s={A:[],B:[],C:[],D:[]};
 for(let i=0;i<150;i++)for(const k of Object.keys(V).sort(()=>Math.random()-.5)){const t=process.cpuUsage();await block(...V[k],300,c);const u=process.cpuUsage(t);s[k].push((u.user+u.system)/300);}
 const q=(a,f)=>[...a].sort((x,y)=>x-y)[Math.floor(a.length*f)];
 console.log('c'+c,...Object.keys(s).map(k=>k+' p20 '+q(s[k],.2).toFixed(2)+' p50 '+q(s[k],.5).toFixed(2)),'B/A p20',(q(s.B,.2)/q([...s.A,...s.C],.2)).toFixed(3),'p50',(q(s.B,.5)/q([...s.A,...s.C],.5)).toFixed(3),'C/A',(q(s.C,.2)/q(s.A,.2)).toFixed(3),'D/A',(q(s.D,.2)/q(s.A,.2)).toFixed(3));
}
if(global.gc){const bytes=async(url,d)=>{global.gc();const b=process.memoryUsage().heapUsed;await block(url,d,2000,50);return (process.memoryUsage().heapUsed-b)/2000};
const r={A:[],B:[],C:[],D:[]};for(let i=0;i<9;i++)for(const k in V)r[k].push(await bytes(...V[k]));
const med=a=>[...a].sort((x,y)=>x-y)[4];console.log('bytes',Object.keys(r).map(k=>k+' '+med(r[k]).toFixed(0)).join(' '),(med(r.B)/med([...r.A])).toFixed(3));}
await mesh.close();await agent.close();srv.stdin.end();
