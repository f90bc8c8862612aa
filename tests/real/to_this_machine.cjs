// Loaded into the scanner with `node --require`: whatever name and port it asks for, it is led to this machine, or nowhere.
// OBSERVATORY_ROUTES says where: {"app.site.test:443": 41234}. So no port below 1024, no hosts file and no network is needed.
"use strict";
const net = require("node:net");
const routes = JSON.parse(process.env.OBSERVATORY_ROUTES);
const connect = net.Socket.prototype.connect;

net.Socket.prototype.connect = function (...args) {
  const asked = Array.isArray(args[0]) ? args[0][0] : args[0];
  const port = routes[`${asked.host}:${asked.port}`];
  if (port === undefined) {
    const error = Object.assign(new Error(`${asked.host}:${asked.port} is nowhere`), { code: "ECONNREFUSED" });
    process.nextTick(() => this.destroy(error));
    return this;
  }
  const led = { ...asked, host: "127.0.0.1", port };
  if (Array.isArray(args[0])) args[0][0] = led;
  else args[0] = led;
  return connect.apply(this, args);
};
