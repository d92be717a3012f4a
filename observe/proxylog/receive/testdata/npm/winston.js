// Logs the lines of standard input by winston-loki.
const readline = require('readline')
const winston = require('winston')
const LokiTransport = require('winston-loki')

const url = process.argv[2]
const options = { host: url, labels: { app: 'proxy' }, interval: 0.01, timeout: 5000, gracefulShutdown: false, onConnectionError: () => {} }
const transports = [
  new LokiTransport({ ...options }),
  new LokiTransport({ ...options, labels: { app: 'json' }, json: true, format: winston.format.json() })
]
for (const t of transports) t.batcher.circuitBreakerInterval = 10 // a minute otherwise

let logged = 0
for (const t of transports) t.on('logged', () => logged++)
const loggers = transports.map(t => winston.createLogger({ transports: [t] }))
const moment = () => new Promise(resolve => setTimeout(resolve, 5))

async function main () {
  let n = 0
  for await (const line of readline.createInterface({ input: process.stdin })) {
    loggers[n % 2].info(line)
    if (++n % 100 === 0) await moment()
  }
  // A logger that is ended tries once more and gives up: so they are not.
  while (logged < n || transports.some(t => t.batcher.batch.streams.length > 0 || t.batcher.batchesSending > 0)) await moment()
  process.exit(0)
}
main()
