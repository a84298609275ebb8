// The portal under each of its mounts: every link inside leads to a page, every fragment to a place, and no portal sees
// another's cookies.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { A, B, C, enter, MOUNTS, none, linkInto, browser } from './lib.mjs'

const PER_SHAPE = 4

/** The shape of an address: what differs only by ids and values has the same. */
function shape(url) {
  const { pathname, searchParams } = new URL(url)
  const path = pathname
    .replace(/(destinations|deliveries|events|replays)\/(?!new\b)[^/]+/g, '$1/*')
    .replace(/attempts\/\d+/, 'attempts/*')
  return `${path}?${[...searchParams.keys()].sort()}`
}

for (const [name, mount] of Object.entries(MOUNTS)) {
  test(`every link inside works: ${name}`, async () => {
    const on = await enter('acme', { mount })
    const queue = [mount, `${mount}destinations/billing`, `${mount}destinations/billing/deliveries/evt-failed`]
    const known = new Set(queue)
    const shapes = new Map()
    const from = new Map()
    const wrong = []
    let visited = 0
    while (queue.length) {
      const url = queue.shift()
      visited++
      const found = await on.page.evaluate(visit, url)
      if (found.status !== 200) wrong.push(`${url}: ${found.status}, linked from ${from.get(url)}`)
      if (found.kind === 'text/html') {
        if (found.h1 !== 1) wrong.push(`${url}: not a page of ours`)
        for (const lost of found.lost) wrong.push(`${url}: nothing has the id ${lost}`)
      } else if (!found.asset) {
        if (!found.disposition?.startsWith('attachment')) wrong.push(`${url}: shown, not saved: ${found.kind}`)
        if (found.nosniff !== 'nosniff') wrong.push(`${url}: may be sniffed`)
      }
      for (const target of found.links) {
        if (!target.startsWith(mount) && target + '/' !== mount) {
          // What leads out of the mount leads back to the application, or is none of ours.
          if (!target.startsWith(`${A}/host`)) wrong.push(`${url} links to ${target}`)
          continue
        }
        const [plain] = target.split('#')
        if (known.has(plain)) continue
        const count = (shapes.get(shape(plain)) ?? 0) + 1
        if (count > PER_SHAPE) continue
        shapes.set(shape(plain), count)
        known.add(plain)
        from.set(plain, url)
        queue.push(plain)
      }
      for (const asset of found.assets) {
        if (known.has(asset)) continue
        known.add(asset)
        if (!asset.startsWith(mount)) wrong.push(`${url} uses ${asset}`)
        const status = await on.page.evaluate(async url => (await fetch(url)).status, asset)
        if (status !== 200) wrong.push(`${asset}: ${status}`)
      }
      // A fragment is of a page, and pages may be fetched only once.
      for (const target of found.links.filter(link => link.includes('#') && link.startsWith(mount))) {
        const [plain, fragment] = target.split('#')
        const kind = `${shape(plain)}#${fragment}`
        const count = (shapes.get(kind) ?? 0) + 1
        if (known.has(target) || count > PER_SHAPE) continue
        shapes.set(kind, count)
        known.add(target)
        const there = await on.page.evaluate(async ([url, id]) => {
          const text = await (await fetch(url)).text()
          return new DOMParser().parseFromString(text, 'text/html').getElementById(id) !== null
        }, [plain, decodeURIComponent(fragment)])
        if (!there) wrong.push(`${target}, linked from ${url}: no such place`)
      }
    }
    none(wrong)
    assert.ok(visited > 20, `only ${visited} pages were found`)
    console.log(`${name}: ${visited} pages, ${shapes.size} shapes`)
    await on.close()
  })
}

/** In the browser: fetches a page with its cookies and tells what is in it. */
async function visit(url) {
  const response = await fetch(url)
  const kind = (response.headers.get('content-type') ?? '').split(';')[0]
  const found = {
    status: response.status, kind, links: [], assets: [], lost: [],
    disposition: response.headers.get('content-disposition'),
    nosniff: response.headers.get('x-content-type-options'),
  }
  if (kind !== 'text/html') return found
  const page = new DOMParser().parseFromString(await response.text(), 'text/html')
  const absolute = link => new URL(link, response.url).href
  found.h1 = page.querySelectorAll('h1').length
  for (const link of page.querySelectorAll('a[href], form[action]')) {
    const target = link.getAttribute('href')
    if (target === null) continue
    if (target.startsWith('#')) {
      if (!page.getElementById(decodeURIComponent(target.slice(1)))) found.lost.push(target)
    } else {
      found.links.push(absolute(target))
    }
  }
  for (const asset of page.querySelectorAll('link[rel=stylesheet], script[src], img[src]')) {
    found.assets.push(absolute(asset.getAttribute('href') ?? asset.getAttribute('src')))
  }
  return found
}

test('a session of one mount is none of another', async () => {
  const { context, page, close } = await enter('acme')
  for (const [name, mount] of Object.entries(MOUNTS).filter(([name]) => name !== 'webhooks')) {
    const response = await page.goto(mount)
    // Sent back to where links are made.
    assert.ok(response.url().startsWith(`${A}/host`), `${name}: ${response.url()}`)
  }
  const names = async url => (await context.cookies(url)).map(cookie => cookie.name)
  assert.equal((await names(MOUNTS.webhooks)).length, 1)
  for (const url of [`${A}/`, `${A}/web`, `${A}/webhooksandmore/`, MOUNTS.own, MOUNTS.proxied, MOUNTS.root]) {
    assert.deepEqual(await names(url), [], url)
  }
  // Signed in to another as somebody else, both go on side by side.
  await page.goto(await linkInto(MOUNTS.proxied, 'globex'))
  await page.goto(await linkInto(MOUNTS.root, 'many'))
  for (const [mount, tenant] of [[MOUNTS.webhooks, 'acme'], [MOUNTS.proxied, 'globex'], [MOUNTS.root, 'many']]) {
    await page.goto(mount)
    assert.match(await page.locator('footer').innerText(), new RegExp(`Webhooks of ${tenant}`), mount)
  }
  assert.equal(new Set((await context.cookies([A, B, C].map(origin => `${origin}/`).concat(Object.values(MOUNTS))))
    .map(cookie => cookie.name)).size, 3, 'each has a name of its own')
  await close()
})

test('the application’s own login is the portal’s, and signing out there is the application’s matter', async () => {
  const context = await (await browser()).newContext()
  const page = await context.newPage()
  assert.ok((await page.goto(MOUNTS.own)).url().startsWith(`${A}/host`))
  await context.request.get(`${A}/control/login?tenant=globex`)
  await page.goto(`${MOUNTS.own}destinations/main`)
  assert.match(await page.locator('footer').innerText(), /Webhooks of globex/)
  assert.equal(await page.getByRole('button', { name: 'Sign out' }).count(), 0)
  await context.request.get(`${A}/control/login?tenant=acme`)
  assert.equal((await page.goto(`${MOUNTS.own}destinations/main`)).status(), 404)
  await context.close()
})
