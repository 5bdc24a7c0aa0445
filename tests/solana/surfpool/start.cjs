// Starts Surfpool, says where it is, and ends with its parent's pipe.
const { Surfnet } = require("@solana/surfpool-linux-x64-gnu");

const [programId, soPath, slotTimeMs] = process.argv.slice(2);
const net = Surfnet.startWithConfig({
  offline: true,
  blockProductionMode: "clock",
  slotTimeMs: Number(slotTimeMs),
});
net.deploy({ programId, soPath });
console.log(JSON.stringify({ rpc: net.rpcUrl, ws: net.wsUrl }));
process.stdin.resume();
process.stdin.on("end", () => {
  net.stop();
  process.exit(0);
});
