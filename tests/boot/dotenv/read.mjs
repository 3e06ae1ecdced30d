// Reads an environment file as node's dotenv does: `node read.mjs FILE` prints the variables as JSON.
import { readFile } from "node:fs/promises";
import dotenv from "dotenv";

process.stdout.write(JSON.stringify(dotenv.parse(await readFile(process.argv[2]))));
