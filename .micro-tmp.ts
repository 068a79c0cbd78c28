import { start } from './src/start.ts';
import { MeshDispatcher } from './src/adapters/undici/dispatcher.ts';
import { UndiciConnection } from './src/adapters/undici/connection.ts';
const raw=[Buffer.from('content-type'),Buffer.from('application/json'),Buffer.from('Date'),Buffer.from('Mon'),Buffer.from('Connection'),Buffer.from('keep-alive'),Buffer.from('Keep-Alive'),Buffer.from('timeout=60'),Buffer.from('Content-Length'),Buffer.from('35')];
const chunk=Buffer.from('x'.repeat(35));
const noop=()=>{};
class Stub extends UndiciConnection{ dispatch(request,handler){ request.wireOptions('shop'); handler.onConnect(noop); handler.onHeaders(200,raw,noop,'OK'); handler.onData(chunk); handler.onComplete([]);} }
const {engine,attached}=start({config:process.argv[2]??'/tmp/ab/mesh4.yaml',watch:false}); await attached; await engine.ready(5000);
const transport={name:'undici',connect:(e,s)=>new Stub(e,s,engine.clock)};
const d=new MeshDispatcher(engine,{transport,onFailure:'response'});
class App{ onConnect(a){this.a=a} onHeaders(){return true} onData(){return true} onComplete(){ App.n++ } onError(e){throw e} } App.n=0;
const opts=()=>({origin:'http://shop',path:'/x',method:'GET'});
const run=(n)=>{for(let i=0;i<n;i++)d.dispatch(opts(),new App());};
for(let k=0;k<20;k++){run(20000);await new Promise(r=>setImmediate(r));}
const ts=[];for(let k=0;k<40;k++){const t=process.hrtime.bigint();run(20000);ts.push(Number(process.hrtime.bigint()-t)/20000);await new Promise(r=>setImmediate(r));}
ts.sort((a,b)=>a-b);console.log('ns/call min',ts[0].toFixed(0),'med',ts[20].toFixed(0));
if(global.gc){global.gc();const b=process.memoryUsage().heapUsed;run(20000);console.log('bytes/call',((process.memoryUsage().heapUsed-b)/20000).toFixed(0));}
if(process.argv[3]==='prof'){for(let k=0;k<300;k++){run(20000);await new Promise(r=>setImmediate(r));}}
process.exit(0);
