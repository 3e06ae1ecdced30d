const fs = require("fs");
const http = require("http");
const path = require("path");
const zlib = require("zlib");
const express = require("express");
const { WebSocketServer } = require("ws");

const release = fs.readFileSync(path.join(__dirname, "RELEASE"), "utf8").trim();
if (release === "broken") throw new Error("the catalog cannot be read");

// node has zlib.crc32 from 22 on.
const table = Array.from({ length: 256 }, (_, byte) => {
  for (let bit = 0; bit < 8; bit++) byte = byte & 1 ? (byte >>> 1) ^ 0xedb88320 : byte >>> 1;
  return byte >>> 0;
});
const crc32 = (body) => {
  if (zlib.crc32) return zlib.crc32(body);
  let crc = 0xffffffff;
  for (const byte of body) crc = (crc >>> 8) ^ table[(crc ^ byte) & 0xff];
  return (crc ^ 0xffffffff) >>> 0;
};

const app = express();
app.use(express.raw({ type: () => true, limit: "1mb" }));
app.get("/health", (request, response) => response.send("well\n"));
app.all("*", (request, response) => {
  const body = Buffer.isBuffer(request.body) ? request.body : Buffer.alloc(0);
  const text = `id=${request.get("X-Id") || "-"} len=${body.length} crc=${crc32(body)} gen=${release}\n`;
  setTimeout(() => response.type("text").send(text), 1000 * Number(request.get("X-Wait") || 0));
});

const server = http.createServer(app);
new WebSocketServer({ server, path: "/ws" }).on("connection", (socket) => {
  socket.on("message", (data, isBinary) => socket.send(data, { binary: isBinary }));
});
server.listen(process.env.PORT || 3000, () => console.log(`shop listens on ${process.env.PORT}`));

process.on("SIGTERM", () => server.close(() => process.exit(0)));
