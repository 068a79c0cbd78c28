const {run}=await import(process.argv[2]);
console.table((await run({quick:true,progress:(t)=>console.error(t)})).map(r=>({name:r.name,v:r.value,low:r.low,high:r.high,c:r.control.join('-'),t:r.target,holds:r.holds})));process.exit(0);
