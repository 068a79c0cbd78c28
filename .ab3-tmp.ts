import { spawn } from 'node:child_process';
import { request, Agent } from 'undici';
import { createDispatcher } from './src/adapters/undici/index.ts';
import { FakeEngine } from './test/support/fake-engine.ts';
const srv=spawn(process.execPath,['/tmp/ab/server.mjs'],{stdio:['pipe','pipe','inherit']});
const port=Number(await new Promise(r=>srv.stdout.once('data',d=>r(String(d)))));
const engine=new FakeEngine({'mesh':{ports:[port],tries:2,timeoutMs:15000}});
const mesh=createDispatcher(engine,{onFailure:'response'});
engine.ledger.onCallEnd=()=>{};engine.ledger.onAttemptEnd=()=>{};
const agent=new Agent();
const one=async(url,dispatcher)=>{const r=await request(url,{dispatcher});await r.body.text();};
const block=async(url,d,n,c)=>{let left=n;await Promise.all(Array.from({length:c},async()=>{while(left-->0)await one(url,d)}));};
const bare=`http://127.0.0.1:${port}/x`, meshed='http://mesh/x';
for(let i=0;i<3;i++){await block(bare,agent,8000,50);await block(meshed,mesh,8000,50);}
const bytes=async(url,d)=>{global.gc();const b=process.memoryUsage().heapUsed;await block(url,d,2000,50);const x=process.memoryUsage().heapUsed;return (x-b)/2000};
const A=[],B=[];
for(let i=0;i<11;i++){A.push(await bytes(bare,agent));B.push(await bytes(meshed,mesh));}
const med=a=>[...a].sort((x,y)=>x-y)[5];
console.log('bytes bare',med(A).toFixed(0),'mesh',med(B).toFixed(0),(med(B)/med(A)).toFixed(3), A.map(x=>x|0).join(' '));
await engine.close();await agent.close();srv.stdin.end();
