// Logs calls by pino-loki, in the shape of pino-http.
const pino = require('pino')
const { pinoLoki } = require('pino-loki')

const [url, path, total] = process.argv.slice(2)
const transport = pinoLoki({ host: url, labels: { app: 'proxy' }, batching: { interval: 0.05 } })
const log = pino(transport)
for (let n = 0; n < Number(total); n++) {
  log.info({ req: { id: n, method: 'POST', url: path, remoteAddress: `10.${n >> 16}.${(n >> 8) & 255}.${n & 255}` }, res: { statusCode: 200 }, responseTime: 12 }, 'request completed')
}
log.flush()
transport.end()
