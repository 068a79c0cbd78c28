import { spawn } from 'node:child_process';
import { request, Agent } from 'undici';
import { createDispatcher } from './src/adapters/undici/index.ts';
import { FakeEngine } from './test/support/fake-engine.ts';
import { getHeapStatistics } from 'node:v8';
const srv=spawn(process.execPath,['/tmp/ab/server.mjs'],{stdio:['pipe','pipe','inherit']});
const port=Number(await new Promise(r=>srv.stdout.once('data',d=>r(String(d)))));
const engine=new FakeEngine({'mesh:80':{ports:[port]},'mesh':{ports:[port],tries:2,timeoutMs:15000}});
const mesh=createDispatcher(engine,{onFailure:'response'});
engine.ledger.onCallEnd=()=>{};engine.ledger.onAttemptEnd=()=>{};
const agent=new Agent();
const one=async(url,dispatcher)=>{const r=await request(url,{dispatcher});await r.body.text();};
const block=async(url,d,n,c)=>{let left=n;await Promise.all(Array.from({length:c},async()=>{while(left-->0)await one(url,d)}));};
const bare=`http://127.0.0.1:${port}/x`, meshed='http://mesh/x';
await block(bare,agent,8000,50);await block(meshed,mesh,8000,50);await block(bare,agent,8000,50);await block(meshed,mesh,8000,50);
for(const c of [50,1]){
const sums={A:[],B:[],C:[]};
for(let i=0;i<120;i++){
  const order=['A','B','C'].sort(()=>Math.random()-0.5);
  for(const k of order){const t=process.cpuUsage();await block(k==='B'?meshed:bare,k==='B'?mesh:agent,300,c);const u=process.cpuUsage(t);sums[k].push((u.user+u.system)/300);}
}
const mean=a=>{a=[...a].sort((x,y)=>x-y).slice(6,-6);return a.reduce((x,y)=>x+y)/a.length};
const a=mean(sums.A),b=mean(sums.B),cc=mean(sums.C);
console.log('c',c,'bare',a.toFixed(2),'mesh',b.toFixed(2),'ratio',(b/((a+cc)/2)).toFixed(4),'A/A',(cc/a).toFixed(4));
}
// bytes
if(global.gc){
 const bytes=async(url,d)=>{global.gc();const b=process.memoryUsage().heapUsed;await block(url,d,400,50);const x=process.memoryUsage().heapUsed;return (x-b)/400};
 for(let i=0;i<3;i++)console.log('bytes bare',(await bytes(bare,agent)).toFixed(0),'mesh',(await bytes(meshed,mesh)).toFixed(0));
}
await engine.close();await agent.close();srv.stdin.end();
