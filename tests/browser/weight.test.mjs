// What pages weigh and how they behave while they load. Counted on the wire, with the browser's own cache.
import assert from 'node:assert/strict'
import { after, test } from 'node:test'
import { gzipSync } from 'node:zlib'
import { browser, enter, linkInto, MOUNTS, open } from './lib.mjs'
import { PAGES } from './pages.mjs'

const KB = 1024
const sessions = new Map()
const session = who => sessions.get(who) ?? sessions.set(who, measured(who)).get(who)
after(async () => { for (const one of sessions.values()) await (await one).close().catch(() => {}) })

async function measured(who) {
  const on = await enter(who)
  return Object.assign(on, await meter(on.context, on.page))
}

/** Counts what a page fetches: `read` gives it and begins anew. */
async function meter(context, page) {
  const cdp = await context.newCDPSession(page)
  const sent = new Map()
  await cdp.send('Network.enable')
  cdp.on('Network.requestWillBeSent', ({ requestId, request, type, redirectResponse }) => {
    if (request.url.startsWith('data:')) return
    if (redirectResponse) sent.set(`${requestId}-${sent.size}`, { ...sent.get(requestId), bytes: redirectResponse.encodedDataLength })
    sent.set(requestId, { url: request.url, type, bytes: 0, head: 0, cached: false })
  })
  cdp.on('Network.requestServedFromCache', ({ requestId }) => { if (sent.has(requestId)) sent.get(requestId).cached = true })
  cdp.on('Network.responseReceived', ({ requestId, response }) => {
    const one = sent.get(requestId)
    if (!one) return
    one.head = response.encodedDataLength
    one.cached ||= response.fromDiskCache || response.fromPrefetchCache
  })
  cdp.on('Network.loadingFinished', ({ requestId, encodedDataLength }) => {
    const one = sent.get(requestId)
    if (one) one.bytes = encodedDataLength
  })
  return { cdp, start: () => sent.clear(), read: () => [...sent.values()].filter(one => !one.cached) }
}

const list = fetched => fetched.map(one => `${one.type} ${one.url} ${one.bytes}`).join('\n')

for (const entry of PAGES.filter(entry => !entry.act)) {
  test(`weight of ${entry.name}`, async () => {
    const on = await session(entry.who)
    await on.cdp.send('Network.clearBrowserCache')
    on.start()
    const response = await open(on, entry)
    assert.ok([entry.status].flat().includes(response.status()), `status ${response.status()}`)
    await on.page.waitForLoadState('networkidle')
    const fetched = on.read()
    const bytes = fetched.reduce((sum, one) => sum + one.bytes, 0)
    assert.ok(fetched.length <= 4, `${fetched.length} requests\n${list(fetched)}`)
    assert.ok(bytes <= 50 * KB, `${bytes} bytes\n${list(fetched)}`)
    assert.ok(fetched.every(one => new URL(one.url).hostname === '127.0.0.1'), list(fetched))
    assert.ok(fetched.every(one => ['Document', 'Stylesheet', 'Script', 'Image', 'Other'].includes(one.type)), list(fetched))
    const html = gzipSync(await response.body(), { level: 6 }).length
    assert.ok(html <= 15 * KB, `${html} bytes of HTML`)
    const of = type => fetched.filter(one => one.type === type).reduce((sum, one) => sum + one.bytes - one.head, 0)
    assert.ok(of('Stylesheet') > 0 && of('Stylesheet') <= 5 * KB, `${of('Stylesheet')} bytes of styles`)
    assert.ok(of('Script') > 0 && of('Script') <= 2 * KB, `${of('Script')} bytes of script`)
    console.log(`${entry.name}: ${fetched.length} requests, ${bytes} bytes, html ${html}, css ${of('Stylesheet')}, js ${of('Script')}`)
  })
}

test('a link leads to the first view in four requests, and the next page takes one', async () => {
  const context = await (await browser()).newContext()
  const page = await context.newPage()
  const { start, read } = await meter(context, page)
  await page.goto(await linkInto(MOUNTS.webhooks, 'acme'))
  await page.waitForLoadState('networkidle')
  assert.ok(read().length <= 4, list(read()))
  for (const path of ['destinations/orders', 'destinations/orders/deliveries', 'activity', '']) {
    start()
    await page.goto(MOUNTS.webhooks + path)
    await page.waitForLoadState('networkidle')
    assert.equal(read().length, 1, `${path}\n${list(read())}`)
  }
  await context.close()
})

test('assets are kept for good, and pages not at all', async () => {
  const on = await session('acme')
  const response = await open(on, { path: '' })
  assert.match(response.headers()['cache-control'], /no-store/)
  const assets = await on.page.$$eval('link[rel=stylesheet], script[src]', all => all.map(one => one.href ?? one.src))
  assert.ok(assets.length >= 2)
  for (const url of assets) {
    const { headers } = await fetch(url)
    assert.match(headers.get('cache-control'), /immutable/, url)
    assert.match(url, /\.[0-9a-f]{6,}\.(css|js)$/)
  }
})

test('nothing moves while pages load, and no script holds them up', async t => {
  const on = await session('acme')
  await on.context.addInitScript(() => {
    window.shift = 0
    new PerformanceObserver(list => {
      for (const one of list.getEntries()) if (!one.hadRecentInput) window.shift += one.value
    }).observe({ type: 'layout-shift', buffered: true })
  })
  // Time of the processor, not of the clock: another program on the machine must not count.
  await on.cdp.send('Performance.enable', { timeDomain: 'threadTicks' })
  const spent = async () => {
    const { metrics } = await on.cdp.send('Performance.getMetrics')
    return metrics.find(metric => metric.name === 'ScriptDuration').value * 1000
  }
  for (const entry of PAGES.filter(entry => entry.who === 'acme' && !entry.act && !entry.fault && !entry.shares)) {
    await t.test(entry.name, async () => {
      const shifts = []
      const scripts = []
      // Once is enough when it is fine; else the one in the middle of three counts.
      for (let run = 0; run < 3 && !(shifts.length === 1 && shifts[0] <= 0.01 && scripts[0] <= 50); run++) {
        await on.page.goto('about:blank')
        const before = await spent()
        await on.page.goto(on.to(entry.path), { waitUntil: 'networkidle' })
        scripts.push(await spent() - before)
        shifts.push(await on.page.evaluate(() => window.shift))
      }
      assert.ok(shifts.sort((a, b) => a - b)[Math.floor(shifts.length / 2)] <= 0.01, `shifts of ${shifts}`)
      // All of it is less than one long task would be.
      assert.ok(Math.min(...scripts) <= 50, `scripts of ${scripts} ms`)
    })
  }
})
