// A worker's application in Express, as it runs on Elastic Beanstalk: it listens on PORT.
const fs = require("fs");
const express = require("express");

const application = express();
application.use(express.json({ limit: "1mb" }));

application.post("/jobs", (request, response) => {
  const count = Number(request.get("X-Aws-Sqsd-Receive-Count"));
  if (count <= (request.body.fails || 0)) throw new Error("it fails on purpose");
  const color = request.get("X-Aws-Sqsd-Attr-Color") || "None";
  const length = request.get("Content-Length");
  fs.appendFileSync(process.env.NOTES, `${request.body.name} ${count} ${color} ${length} ${request.ip}\n`);
  response.status(200).end();
});

application.post("/tasks/nightly", (request, response) => {
  const [name, at] = ["Taskname", "Scheduled-At"].map((header) => request.get(`X-Aws-Sqsd-${header}`));
  fs.appendFileSync(process.env.NOTES, `${name} ${at}\n`);
  response.status(request.get("Content-Length") === "0" ? 200 : 400).end();
});

application.listen(process.env.PORT, "127.0.0.1");
