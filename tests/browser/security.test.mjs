// What must not be possible in a browser, whatever a page, another site or the data tries.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { A, B, browser, control, enter, linkInto, listen, MOUNTS, none } from './lib.mjs'
import { BOTH_PATHS, pathsOf, POST_PATHS } from './pages.mjs'

test('after entry the token is nowhere, and works no second time', async () => {
  const context = await (await browser()).newContext()
  const page = await context.newPage()
  const link = await linkInto(MOUNTS.webhooks, 'acme', 'destinations/orders')
  const token = new URL(link).searchParams.get('token')
  const referrers = []
  page.on('request', request => referrers.push(request.headers().referer ?? ''))
  const [first] = await Promise.all([page.waitForResponse(response => response.status() === 303), page.goto(link)])
  assert.equal(first.headers()['referrer-policy'], 'no-referrer')
  assert.match(first.headers()['cache-control'], /no-store/)
  await page.goto(MOUNTS.webhooks)
  await page.goto(`${MOUNTS.webhooks}activity`)
  const kept = await page.evaluate(() => JSON.stringify([
    location.href, document.referrer, document.cookie, { ...localStorage }, { ...sessionStorage },
    performance.getEntries().map(one => one.name), document.documentElement.outerHTML, history.state,
  ]))
  assert.ok(!kept.includes(token))
  none(referrers.filter(referrer => referrer.includes('token')))
  const cdp = await context.newCDPSession(page)
  const { entries } = await cdp.send('Page.getNavigationHistory')
  none(entries.filter(entry => `${entry.url}${entry.userTypedURL}`.includes(token) && entry.url !== entry.userTypedURL
    && entry.url.includes(token)).map(entry => entry.url), 'in the history')
  const other = await (await browser()).newContext()
  const second = await (await other.newPage()).goto(link)
  assert.equal(second.status(), 401)
  assert.deepEqual(await other.cookies(), [])
  await other.close()
  await context.close()
})

test('links that are not right all lead to the same page', async () => {
  const context = await (await browser()).newContext()
  const page = await context.newPage()
  const token = await control('token', { tenant: 'acme' })
  const [head, body, mac] = token.split('.')
  const encode = value => Buffer.from(JSON.stringify(value)).toString('base64url')
  const claims = JSON.parse(Buffer.from(body, 'base64url'))
  const wrong = [
    'x', `${head}.${body}.`, `${head}.${encode({ ...claims, sub: 'globex' })}.${mac}`,
    `${encode({ alg: 'none', typ: 'JWT' })}.${body}.`, `${encode({ alg: 'none' })}.${body}.${mac}`,
    `${head}.${body}.${[...mac].reverse().join('')}`,
  ]
  const texts = new Set()
  for (const one of wrong) {
    const response = await page.goto(`${MOUNTS.webhooks}?token=${one}`)
    assert.equal(response.status(), 401, one)
    texts.add(await page.getByRole('main').innerText())
  }
  assert.equal(texts.size, 1)
  await context.close()
})

test('the cookie is for the portal alone, and out of the reach of scripts', async () => {
  const { context, page, close } = await enter('acme')
  const [cookie] = await context.cookies(MOUNTS.webhooks)
  assert.deepEqual([cookie.httpOnly, cookie.sameSite, cookie.path], [true, 'Lax', '/webhooks'])
  assert.equal(await page.evaluate(() => document.cookie), '')
  // Another link makes another session.
  await page.goto(MOUNTS.webhooks)
  await page.getByRole('button', { name: 'Sign out' }).click()
  await page.goto(await linkInto(MOUNTS.webhooks, 'acme'))
  assert.notEqual((await context.cookies(MOUNTS.webhooks))[0].value, cookie.value)
  await page.goto(await linkInto(MOUNTS.root, 'acme'))
  const [framed] = (await context.cookies(MOUNTS.root)).filter(one => one.path === '/')
  assert.deepEqual([framed.httpOnly, framed.secure, framed.sameSite], [true, true, 'None'])
  assert.match(framed.name, /^__Secure-/)
  await close()
})

/** Whether the portal is in the page's frame, and not what a browser shows in its place. */
async function shown(page) {
  return await page.frames()[1].getByRole('heading', { level: 1, name: 'You are signed out' }).count() > 0
}

test('no other site may frame the portal, unless it is named', async () => {
  const context = await (await browser()).newContext({ viewport: { width: 1100, height: 900 } })
  const page = await context.newPage()
  const heard = listen(page)
  const frame = async url => {
    heard.errors.length = 0
    await page.goto(`${A}/control/frame?url=${encodeURIComponent(url)}`, { waitUntil: 'networkidle' })
    return shown(page)
  }
  assert.equal(await frame(MOUNTS.webhooks + 'signed-out'), false, 'not even by its own origin')
  assert.ok(heard.errors.some(text => /frame/i.test(text)), `${heard.errors}`)
  assert.equal(await frame(MOUNTS.root + 'signed-out'), true, 'by the origin that is named')
  await page.goto(`${B}/signed-out`)
  const from = async origin => {
    await page.goto(`${origin}/control/frame?url=${encodeURIComponent(`${MOUNTS.root}signed-out`)}`, { waitUntil: 'networkidle' })
    return shown(page)
  }
  assert.equal(await from(A.replace('127.0.0.1', 'localhost')), false, 'by another name of the same server')
  await context.close()
})

test('within a frame of the named site a destination can be added', async () => {
  const context = await (await browser()).newContext({ viewport: { width: 1100, height: 900 } })
  const page = await context.newPage()
  const heard = listen(page)
  const link = await linkInto(MOUNTS.root, 'acme', 'destinations/new/webhook')
  await page.goto(`${A}/control/frame?url=${encodeURIComponent(link)}`)
  const frame = page.frameLocator('#f')
  const main = frame.getByRole('main')
  await main.getByLabel(/name/i).first().fill('In a frame')
  await main.getByLabel(/url/i).first().fill(`${A}/sink/ok`)
  await main.getByLabel('heartbeat', { exact: true }).check()
  await main.getByRole('button', { name: 'Add destination' }).click()
  await frame.getByRole('heading', { level: 1, name: 'In a frame' }).waitFor()
  none(heard.errors)
  const [cookie] = await context.cookies(MOUNTS.root)
  assert.ok(cookie.partitionKey, 'kept for this frame in this site only')
  await context.close()
})

test('a form of another site changes nothing', async () => {
  const { context, page, close } = await enter('acme', { mount: MOUNTS.root })
  const before = await control('state', { tenant: 'acme' })
  for (const path of [...POST_PATHS, ...BOTH_PATHS]) {
    await page.goto(`${A}/control/form?url=${encodeURIComponent(MOUNTS.root + path)}`)
    const [response] = await Promise.all([
      page.waitForResponse(response => response.request().method() === 'POST'),
      page.getByRole('button').click(),
    ])
    assert.ok([401, 403].includes(response.status()), `${path}: ${response.status()}`)
  }
  assert.equal(await control('state', { tenant: 'acme' }), before)
  // The session is alive all the same.
  await page.goto(MOUNTS.root)
  await page.getByRole('heading', { level: 1, name: 'Destinations' }).waitFor()
  assert.equal((await context.cookies(MOUNTS.root)).length > 0, true)
  await close()
})

test('a form without its token, with another’s or with one of another session changes nothing', async () => {
  const one = await enter('acme')
  const other = await enter('acme')
  await other.page.goto(other.to('preferences'))
  const foreign = await other.page.locator('input[name=form_token]').first().inputValue()
  const before = await control('state', { tenant: 'acme' })
  for (const path of [...POST_PATHS, ...BOTH_PATHS]) {
    for (const token of ['', 'x', foreign]) {
      const status = await one.page.evaluate(async ([url, token]) =>
        (await fetch(url, { method: 'POST', body: new URLSearchParams({ form_token: token }) })).status, [one.to(path), token])
      assert.equal(status, 403, `${path} with ${token.slice(0, 5)}`)
    }
  }
  assert.equal(await control('state', { tenant: 'acme' }), before)
  await one.close()
  await other.close()
})

test('looking changes nothing', async () => {
  const { page, to, close } = await enter('acme')
  const before = await control('state', { tenant: 'acme' })
  for (const path of POST_PATHS) assert.equal((await page.goto(to(path))).status(), 405, path)
  for (const path of BOTH_PATHS) assert.equal((await page.goto(to(path))).status(), 200, path)
  assert.equal(await control('state', { tenant: 'acme' }), before)
  assert.equal((await page.goto(to(''))).status(), 200, 'still signed in')
  await close()
})

test('what another tenant has is not there, on any address', async () => {
  const { page, to, close } = await enter('acme')
  const read = async path => page.evaluate(async url => {
    const response = await fetch(url)
    return [response.status, await response.text()]
  }, to(path))
  const plain = text => text.replace(/value="[\w-]{60,}"/g, '').replace(/data-ends="\d+"/, '').replace(/\d\d:\d\d:\d\d/g, '')
  const theirs = pathsOf('secret-plans', 'globex-order-created')
  const nobodys = pathsOf('no-such-plans', 'nobody-order-created')
  const anon = text => plain(text).replaceAll('secret-plans', 'X').replaceAll('no-such-plans', 'X')
    .replaceAll('globex-order-created', 'Y').replaceAll('nobody-order-created', 'Y')
  for (const [index, path] of theirs.entries()) {
    const [[status, text], [, other]] = [await read(path), await read(nobodys[index])]
    assert.equal(status, 404, path)
    assert.equal(anon(text), anon(other), path)
    assert.ok(!text.includes('canary'), path)
  }
  // Their event together with a destination of ours.
  for (const path of pathsOf('orders', 'globex-order-created').filter(path => path.includes('globex'))) {
    assert.equal((await read(path))[0], 404, path)
  }
  const token = await page.goto(to('preferences')).then(() => page.locator('input[name=form_token]').first().inputValue())
  const before = await control('state', { tenant: 'globex' })
  for (const path of [...POST_PATHS, ...BOTH_PATHS].filter(path => path.includes('destinations/') && !path.includes('new'))) {
    const foreign = path.replace(/destinations\/\w+/, 'destinations/secret-plans').replace('evt-1', 'globex-order-created')
    const status = await page.evaluate(async ([url, token]) =>
      (await fetch(url, { method: 'POST', body: new URLSearchParams({ form_token: token }) })).status, [to(foreign), token])
    // To retry what was ticked in a list names nothing, so there is nothing to find.
    assert.ok(status === 404 || (path.endsWith('orders/retry') && status === 200), `${foreign}: ${status}`)
  }
  assert.equal(await control('state', { tenant: 'globex' }), before)
  for (const path of ['find?q=globex-order-created', 'find?q=secret-plans', 'activity', 'activity.csv', 'activity.ndjson']) {
    assert.ok(!(await read(path))[1].includes('canary'), path)
  }
  await close()
})

test('hostile data is shown and does nothing', async () => {
  const { page, heard, to, close } = await enter('acme')
  const turned = []
  for (const path of ['', '?q=%22%3E%3Cscript%3Ealert(1)%3C/script%3E', 'destinations/hostile', 'destinations/hostile/settings',
    'destinations/orders/deliveries/evt-hostile', 'destinations/rude/deliveries/evt-rude', 'destinations/large/deliveries/evt-large',
    'destinations/billing/deliveries/evt-failed', 'events/evt-hostile', 'find?q=%22%3E%3Cimg%20src=x%20onerror=alert(1)%3E',
    'destinations/orders/deliveries?topic=%22%3E%3Cscript%3E&status=%3Cimg%3E&id=%00', 'activity?destination=%E2%80%AE']) {
    const response = await page.goto(to(path))
    assert.ok(response.status() < 500, `${path}: ${response.status()}`)
    const injected = await page.evaluate(() => [...document.querySelectorAll('script, img, iframe, object, embed')]
      .filter(one => !one.matches('head > script[src*="/assets/"]')).map(one => one.outerHTML))
    none(injected, path)
    const text = await page.evaluate(() => document.title + document.body.innerText)
    if (/[\u202a-\u202e\u2066-\u2069\u0000]/.test(text)) turned.push(path)
  }
  none(turned, 'text can turn what is around it')
  none([...heard.dialogs, ...heard.errors])
  await close()
})

test('a download is saved, never shown', async () => {
  const { page, to, close } = await enter('acme')
  const event = 'destinations/rude/deliveries/evt-rude'
  for (const path of [`${event}/payload`, `${event}/attempts/1/response`, `${event}/attempts/1/curl`,
    'destinations/orders/deliveries.csv', 'destinations/orders/deliveries.ndjson', 'activity.csv', 'activity.ndjson']) {
    const headers = await page.evaluate(async url => {
      const response = await fetch(url)
      await response.body.cancel()
      return [response.status, response.headers.get('content-disposition'), response.headers.get('x-content-type-options'),
        response.headers.get('content-type')]
    }, to(path))
    assert.equal(headers[0], 200, path)
    assert.match(headers[1] ?? '', /^attachment/, path)
    assert.equal(headers[2], 'nosniff', path)
    assert.doesNotMatch(headers[3], /html|xml|svg|script/, path)
  }
  await close()
})

test('secrets are in no page before they are asked for, and in no export', async () => {
  const { page, to, close } = await enter('acme')
  await page.goto(to('destinations/orders/secret'))
  const [shown] = await Promise.all([
    page.waitForResponse(response => response.request().method() === 'POST'),
    page.getByRole('button', { name: 'Reveal' }).click(),
  ])
  assert.match(shown.headers()['cache-control'], /no-store/)
  const secret = (await page.locator('#secret-0').innerText()).trim()
  assert.match(secret, /^whsec_.{20,}/)
  for (const path of ['', 'destinations/orders', 'destinations/orders/settings', 'destinations/orders/secret',
    'destinations/orders/deliveries/evt-1', 'destinations/orders/deliveries.ndjson', 'activity.csv',
    'destinations/orders/deliveries/evt-1/attempts/1/curl', 'help/verify']) {
    const text = await page.evaluate(async url => (await fetch(url)).text(), to(path))
    assert.ok(!text.includes(secret), path)
  }
  await close()
})

test('who has signed out sees nothing more, not even by going back', async () => {
  const { context, page, to, close } = await enter('acme')
  const [old] = await context.cookies(MOUNTS.webhooks)
  await page.goto(to('destinations/orders'))
  await page.getByRole('button', { name: 'Sign out' }).click()
  await page.getByRole('heading', { level: 1, name: 'You are signed out' }).waitFor()
  assert.deepEqual((await context.cookies(MOUNTS.webhooks)).map(cookie => cookie.name), [])
  await page.goBack()
  await page.reload()
  assert.ok(!(await page.content()).includes('Orders webhook'))
  await context.addCookies([{ ...old, expires: -1 }])
  const status = await page.goto(to('destinations/orders')).then(response => response.url())
  assert.ok(status.startsWith(`${A}/host`), 'the old cookie opens nothing')
  await close()
})

test('a way back never leads out of the portal', async () => {
  const context = await (await browser()).newContext()
  const page = await context.newPage()
  const outside = []
  for (const back of ['//evil.test', '/\\evil.test', 'https:evil.test', 'https://evil.test', '/%2f%2fevil.test',
    '/%5cevil.test', '/x%0d%0aset-cookie:a=b', 'javascript:alert(1)', '/../../host', '/%2e%2e/%2e%2e/host', '/activity/../../host']) {
    const link = await linkInto(MOUNTS.webhooks, 'acme')
    await page.goto(`${link}&return_to=${encodeURIComponent(back)}`)
    if (!page.url().startsWith(MOUNTS.webhooks)) outside.push(`${back}: ${page.url()}`)
  }
  none(outside)
  await page.goto(`${await linkInto(MOUNTS.webhooks, 'acme')}&return_to=${encodeURIComponent('/activity?status=failed')}`)
  assert.match(page.url(), /\/webhooks\/activity\?status=failed/)
  await context.close()
})

test('every answer has the headers that keep it safe', async () => {
  const { page, to, close } = await enter('acme')
  const seen = []
  for (const [path, status] of [['', 200], ['destinations/new', 303], ['nothing', 404], ['logout', 405]]) {
    const response = status === 303
      ? await page.context().request.get(to(path), { maxRedirects: 0 })
      : await page.goto(to(path))
    const headers = response.headers()
    seen.push([path, response.status()])
    const policy = headers['content-security-policy'] ?? ''
    assert.match(policy, /default-src 'none'/)
    assert.doesNotMatch(policy, /unsafe|\*/)
    for (const wanted of ["script-src 'self'", "base-uri 'none'", "frame-ancestors 'none'", "form-action 'self'"]) {
      assert.ok(policy.includes(wanted), `${path}: ${policy}`)
    }
    assert.equal(headers['x-content-type-options'], 'nosniff')
    assert.equal(headers['x-frame-options'], 'DENY')
    assert.equal(headers['cross-origin-opener-policy'], 'same-origin')
    assert.match(headers['cache-control'], /no-store/)
    assert.match(headers['x-robots-tag'], /noindex/)
  }
  assert.deepEqual(seen.map(([, status]) => status), [200, 303, 404, 405])
  await close()
})
