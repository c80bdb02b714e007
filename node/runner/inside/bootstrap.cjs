// Runs in a function's sandbox: the Node half of bootstrap.py, which describes the frames on descriptor 4.
// While a handler works, the socket does not keep the event loop alive: so `beforeExit` says that nothing is left to
// wait for, which is when AWS answers a callback, and a promise that nobody will ever resolve.
"use strict";
const net = require("node:net");

const FD = 4;
const TASK = "/var/task";
const MAX_RESULT = 6 * 1024 * 1024; // bytes
const OURS = /bootstrap\.cjs|\(?node:/;

const socket = new net.Socket({ fd: FD, readable: true, writable: true });
let pending = Buffer.alloc(0);
let config = null;
let handler = null;
let current = null; // the call under way: { id, answered, value } ; value is what waits for an empty event loop

function send(kind, ...parts) {
  const head = Buffer.allocUnsafe(5);
  head.writeUInt32BE(parts.reduce((sum, part) => sum + part.length, 0), 0);
  head[4] = kind.charCodeAt(0);
  return socket.write(Buffer.concat([head, ...parts]));
}

function describe(error, type) {
  const real = error instanceof Error;
  const stack = real ? String(error.stack ?? "").split("\n").slice(1) : [];
  return {
    type: type ?? (real ? error.name : typeof error),
    message: String(real ? error.message : typeof error === "string" ? error : JSON.stringify(error)).slice(0, 65536),
    stack: stack.filter((line) => !OURS.test(line)).map((line) => line.trim().slice(0, 4096)).slice(0, 100),
  };
}

function print(failure) {
  process.stdout.write(`ERROR\tInvoke Error\t${[`${failure.type}: ${failure.message}`, ...failure.stack].join("\n    ")}\n`);
}

class Unloadable extends Error {
  constructor(type, message, cause) {
    super(message, { cause });
    this.type = type;
  }
}

async function load(name) {
  const fs = require("node:fs");
  const dot = name.lastIndexOf(".");
  const slash = name.lastIndexOf("/");
  if (dot <= slash + 1) throw new Unloadable("Runtime.MalformedHandlerName", `The handler '${name}' must be module.function.`);
  // dir/module.object.method: the module ends at the first dot after the last slash.
  const first = name.indexOf(".", slash + 1);
  const file = `${TASK}/${name.slice(0, first)}`;
  const found = [".js", ".mjs", ".cjs"].map((ending) => file + ending).find((path) => fs.existsSync(path));
  if (!found) throw new Unloadable("Runtime.ImportModuleError", `Error: Cannot find module '${name.slice(0, first)}'`);
  let loaded;
  try {
    loaded = await open(found);
  } catch (error) {
    if (error instanceof SyntaxError) throw new Unloadable("Runtime.UserCodeSyntaxError", `SyntaxError: ${error.message}`, error);
    if (error?.code === "MODULE_NOT_FOUND" || error?.code === "ERR_MODULE_NOT_FOUND")
      throw new Unloadable("Runtime.ImportModuleError", `Error: ${error.message.split("\n")[0]}`, error);
    throw error;
  }
  const parts = name.slice(first + 1).split(".");
  const value = parts.reduce((at, part) => at?.[part], loaded) ?? parts.reduce((at, part) => at?.[part], loaded.default);
  if (typeof value !== "function") throw new Unloadable("Runtime.HandlerNotFound", `${name} is undefined or not exported`);
  return value;
}

async function open(path) {
  if (path.endsWith(".mjs")) return import(path);
  try {
    return require(path);
  } catch (error) {
    if (error?.code === "ERR_REQUIRE_ESM") return import(path);
    throw error;
  }
}

function unpack(contents) {
  const fs = require("node:fs");
  let at = 0;
  for (const [name, size, mode] of config.files) {
    const path = `${TASK}/${name}`;
    fs.mkdirSync(path.slice(0, path.lastIndexOf("/")), { recursive: true });
    fs.writeFileSync(path, contents.subarray(at, at + size), { mode, flag: "wx" });
    at += size;
  }
}

async function init(payload) {
  const size = payload.readUInt32BE(0);
  config = JSON.parse(payload.toString("utf8", 4, 4 + size));
  Object.assign(process.env, config.env);
  try {
    unpack(payload.subarray(4 + size));
    handler = await load(config.handler);
    send("L");
  } catch (error) {
    const told = error instanceof Unloadable;
    const failure = describe(told ? (error.cause ?? error) : error, told ? error.type : undefined);
    if (told) failure.message = error.message;
    print(failure);
    send("F", Buffer.from(JSON.stringify(failure)));
  }
}

function finish(call, kind, payload) {
  if (call !== current) return;
  current = null;
  socket.ref();
  send(kind, call.id, payload);
}

function succeed(call, value) {
  if (call !== current) return;
  let text;
  try {
    text = JSON.stringify(value === undefined ? null : value) ?? "null";
  } catch (error) {
    return fail(call, error, "Runtime.MarshalError");
  }
  const body = Buffer.from(text);
  if (body.length > MAX_RESULT) {
    const message = `The result has ${body.length} bytes; ${MAX_RESULT} are allowed.`;
    return fail(call, new Error(message), "Function.ResponseSizeTooLarge");
  }
  finish(call, "O", body);
}

function fail(call, error, type) {
  if (call !== current) return;
  const failure = describe(error, type);
  print(failure);
  finish(call, "X", Buffer.from(JSON.stringify(failure)));
}

function invoke(payload) {
  const size = payload[0];
  const call = { id: payload.subarray(0, size + 1), value: undefined };
  const deadline = Number(payload.readBigUInt64BE(size + 1));
  current = call;
  let event;
  try {
    event = JSON.parse(payload.toString("utf8", size + 9));
  } catch (error) {
    return fail(call, error, "Runtime.UnmarshalError");
  }
  socket.unref();
  // The first answer counts. With callbackWaitsForEmptyEventLoop it is sent when nothing is left to do.
  const callback = (error, value) => {
    if (call !== current || call.value) return;
    call.value = error === null || error === undefined ? () => succeed(call, value) : () => fail(call, error);
    if (!context.callbackWaitsForEmptyEventLoop) call.value();
  };
  const now = (error, value) => {
    context.callbackWaitsForEmptyEventLoop = false;
    callback(error, value);
  };
  const context = {
    callbackWaitsForEmptyEventLoop: true,
    functionName: config.name,
    functionVersion: config.version,
    invokedFunctionArn: config.arn,
    memoryLimitInMB: String(config.memory_mb),
    awsRequestId: payload.toString("utf8", 1, size + 1),
    logGroupName: config.log_group,
    logStreamName: config.log_stream,
    clientContext: undefined,
    identity: undefined,
    getRemainingTimeInMillis: () => Math.max(0, deadline - Date.now()),
    done: now,
    succeed: (value) => now(null, value),
    fail: (error) => now(error ?? new Error("failed")),
  };
  try {
    const answer = handler(event, context, callback);
    if (typeof answer?.then === "function") answer.then((value) => succeed(call, value), (error) => fail(call, error));
    else if (handler.length < 3 && answer !== undefined) succeed(call, answer);
  } catch (error) {
    fail(call, error);
  }
}

// Nothing can be said about what state the process is in after either: answer for the call under way, then end.
function last(error) {
  const failure = describe(error, "Runtime.UnhandledException");
  if (error instanceof Error) failure.message = `${error.name}: ${failure.message}`;
  print(failure);
  if (!current) process.exit(1);
  const call = current;
  current = null;
  send("Z", call.id, Buffer.from(JSON.stringify(failure)));
}
process.on("uncaughtException", last);
process.on("unhandledRejection", last);
process.on("beforeExit", () => {
  if (current) (current.value ?? (() => succeed(current, null)))();
});

socket.on("data", (chunk) => {
  pending = pending.length ? Buffer.concat([pending, chunk]) : chunk;
  while (pending.length >= 5 && pending.length >= 5 + pending.readUInt32BE(0)) {
    const end = 5 + pending.readUInt32BE(0);
    const kind = pending[4];
    const payload = pending.subarray(5, end);
    pending = pending.subarray(end);
    if (kind === 73) init(payload);
    else invoke(payload);
  }
});
socket.on("end", () => process.exit(0));
send("R");
