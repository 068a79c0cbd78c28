import { spawn } from 'node:child_process';
import { createDispatcher,createFetch } from './src/adapters/undici/index.ts';
import { FakeEngine } from './test/support/fake-engine.ts';
const srv=spawn(process.execPath,['/tmp/ab/server.mjs'],{stdio:['pipe','pipe','inherit']});
const port=Number(await new Promise(r=>srv.stdout.once('data',d=>r(String(d)))));
const engine=new FakeEngine({'mesh':{ports:[port],tries:2,timeoutMs:15000}});
const mfetch=createFetch(engine,{onFailure:'response'});
engine.ledger.onCallEnd=()=>{};engine.ledger.onAttemptEnd=()=>{};
const one=async(url,f)=>{const r=await f(url);await r.text();};
const block=async(url,d,n,c)=>{let left=n;await Promise.all(Array.from({length:c},async()=>{while(left-->0)await one(url,d)}));};
const bare=`http://127.0.0.1:${port}/x`, meshed='http://mesh/x';
for(let i=0;i<2;i++){await block(bare,fetch,6000,50);await block(meshed,mfetch,6000,50);}
for(const c of [50,1]){
const sums={A:[],B:[]};
for(let i=0;i<40;i++){
  const order=['A','B'].sort(()=>Math.random()-0.5);
  for(const k of order){const t=process.cpuUsage();await block(k==='B'?meshed:bare,k==='B'?mfetch:fetch,300,c);const u=process.cpuUsage(t);sums[k].push((u.user+u.system)/300);}
}
const mean=a=>{a=[...a].sort((x,y)=>x-y).slice(3,-3);return a.reduce((x,y)=>x+y)/a.length};
console.log('c',c,'bare',mean(sums.A).toFixed(2),'mesh',mean(sums.B).toFixed(2),'ratio',(mean(sums.B)/mean(sums.A)).toFixed(3));
}
await engine.close();srv.stdin.end();
