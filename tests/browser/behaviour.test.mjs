// What pages do: filters, pages of lists, live lists, forms that were wrong, and a store that fails.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { control, enter, follow, withFault } from './lib.mjs'

const rows = page => page.locator('main tbody tr a.rowlink').evaluateAll(all => all.map(one => one.getAttribute('href').split('?')[0]))

test('filters stand in the address, and each chip removes its own', async () => {
  const { context, page, to, close } = await enter('acme')
  await page.goto(to('destinations/orders/deliveries'))
  const choose = (label, value) => follow(page, { click: () => page.getByLabel(label, { exact: true }).selectOption(value) })
  await choose('Status', 'delivered')
  await choose('Response', '2xx')
  await choose('Topic', 'order.created')
  const query = new URL(page.url()).searchParams
  assert.deepEqual([query.get('status'), query.get('code'), query.get('topic')], ['delivered', '2xx', 'order.created'])
  const found = await rows(page)
  assert.ok(found.length > 1)
  await page.reload()
  assert.deepEqual(await rows(page), found)
  const other = await context.newPage()
  await other.goto(page.url())
  assert.deepEqual(await rows(other), found)
  await other.close()
  const chips = page.locator('a.chip')
  assert.equal(await chips.count(), 3)
  await page.getByRole('link', { name: 'Remove the filter Response: 2xx' }).click()
  await page.waitForURL(url => !url.searchParams.has('code'))
  assert.deepEqual([...new URL(page.url()).searchParams.keys()].filter(key => key !== 'code').sort(), ['status', 'topic'])
  assert.equal(await chips.count(), 2)
  await page.getByRole('link', { name: /clear/i }).first().click()
  await page.waitForURL(url => ![...url.searchParams.keys()].length)
  assert.equal(await chips.count(), 0)
  await close()
})

test('older and newer lead there and back, whatever arrives meanwhile', async () => {
  const { page, to, close } = await enter('acme')
  for (const path of ['destinations/orders/deliveries', 'activity']) {
    await page.goto(to(path))
    const first = await rows(page)
    await page.getByRole('link', { name: 'Older' }).last().click()
    const second = await rows(page)
    await page.getByRole('link', { name: 'Older' }).last().click()
    const third = await rows(page)
    assert.equal(new Set([...first, ...second, ...third]).size, first.length + second.length + third.length, 'nothing twice')
    await control('publish', { topic: 'order.updated' })
    await page.getByRole('link', { name: 'Newer' }).last().click()
    assert.deepEqual(await rows(page), second)
    await page.getByRole('link', { name: 'Newer' }).last().click()
    assert.deepEqual(await rows(page), first)
  }
  await page.goto(to(''))
  const first = await rows(page)
  await page.getByRole('link', { name: 'Next' }).click()
  await page.getByRole('link', { name: 'Previous' }).click()
  assert.deepEqual(await rows(page), first)
  await close()
})

test('a live list shows what arrives, and leaves the focus and the place alone', async () => {
  await control('destination', { id: 'live-list', name: 'Live list', topic: 'user.deleted' })
  await control('publish', { topic: 'user.deleted', id: 'evt-live-1' })
  const { page, to, close } = await enter('acme')
  await page.goto(to('destinations/live-list/deliveries?live=1'))
  await page.locator('nav.tabs a').first().focus()
  const before = await page.evaluate(() => scrollY)
  await control('publish', { topic: 'user.deleted', id: 'evt-live-2' })
  await page.locator('a.rowlink[href*="evt-live-2"]').waitFor({ timeout: 10_000 })
  assert.equal(await page.evaluate(() => document.activeElement.closest('nav.tabs') !== null), true)
  assert.equal(await page.evaluate(() => scrollY), before)
  assert.match(await page.locator('#say').innerText(), /changed/)
  // Somebody who stands in a row does not have it pulled from under them.
  await page.locator('a.rowlink').first().focus()
  const row = await page.evaluate(() => document.activeElement.href)
  await control('publish', { topic: 'user.deleted', id: 'evt-live-3' })
  await page.waitForTimeout(7000)
  assert.equal(await page.evaluate(() => document.activeElement.href), row)
  await close()
})

test('a live list asks less when nobody looks', async () => {
  const { context, page, to, close } = await enter('acme')
  await page.goto(to('activity?live=1'))
  await page.evaluate(() => Object.defineProperty(document, 'hidden', { value: true }))
  const asked = []
  context.on('request', request => asked.push(request.url()))
  await page.waitForTimeout(7000)
  assert.deepEqual(asked, [])
  await close()
})

test('a form that was wrong says so, keeps what was typed, and gives no secret back', async () => {
  const { page, to, close } = await enter('acme')
  await page.goto(to('destinations/new/webhook'))
  const main = page.getByRole('main')
  await main.getByLabel(/name/i).first().fill('Kept name')
  await main.getByLabel(/url/i).first().fill('no url at all')
  for (const closed of await main.locator('details:not([open]) > summary').all()) await closed.click()
  const secrets = main.locator('input[type=password]')
  for (const one of await secrets.all()) await one.fill('secret-that-must-not-return')
  await main.getByLabel('heartbeat', { exact: true }).check()
  const response = await follow(page, main.getByRole('button', { name: 'Add destination' }))
  assert.equal(response.status(), 422)
  assert.match(await page.title(), /^Error: /)
  assert.equal(await page.evaluate(() => document.activeElement.getAttribute('role')), 'alert', 'the focus is on the summary')
  assert.equal(await main.getByLabel(/name/i).first().inputValue(), 'Kept name')
  assert.equal(await main.getByLabel(/url/i).first().inputValue(), 'no url at all')
  assert.ok(await main.getByLabel('heartbeat', { exact: true }).isChecked())
  assert.ok(!(await page.content()).includes('secret-that-must-not-return'))
  const links = main.locator('[role=alert] a')
  assert.ok(await links.count() > 0)
  for (const link of await links.all()) {
    const id = (await link.getAttribute('href')).slice(1)
    await link.click()
    const field = await page.evaluate(id => {
      const there = document.getElementById(id)
      const described = (there?.getAttribute('aria-describedby') ?? '').split(' ').filter(Boolean)
      return {
        focused: there === document.activeElement || there?.contains(document.activeElement),
        invalid: there?.getAttribute('aria-invalid') === 'true' || there?.tagName === 'FIELDSET',
        said: described.some(id => document.getElementById(id)?.classList.contains('error')),
      }
    }, id)
    assert.deepEqual(field, { focused: true, invalid: true, said: true }, id)
  }
  await close()
})

test('every form of a page that was wrong puts the focus on what is wrong', async () => {
  const { page, to, close } = await enter('acme')
  const main = page.getByRole('main')
  for (const [path, break_, send] of [
    ['destinations/orders/test', () => main.getByLabel(/payload|data/i).first().fill('{'), 'Send test event'],
    ['preferences', () => main.getByLabel(/zone/i).first().fill('Nowhere/Land'), 'Save'],
    ['destinations/orders/delete', async () => {}, 'Delete'],
  ]) {
    await page.goto(to(path))
    await break_()
    const response = await follow(page, main.getByRole('button', { name: send, exact: true }))
    assert.equal(response.status(), 422, path)
    assert.match(await page.title(), /^Error: /, path)
    assert.equal(await page.evaluate(() => document.activeElement.getAttribute('role')), 'alert', path)
  }
  await close()
})

test('a store that fails takes down no more than it must', async () => {
  const { page, to, close } = await enter('acme')
  await withFault('scan,fetch', async () => {
    for (const path of ['', 'destinations/orders/deliveries', 'activity']) {
      const response = await page.goto(to(path))
      assert.equal(response.status(), 503, path)
      assert.ok(response.headers()['retry-after'], path)
      await page.getByRole('link', { name: /try again/i }).waitFor()
    }
  })
  const again = await follow(page, page.getByRole('link', { name: /try again/i }))
  assert.equal(again.status(), 200)
  await withFault('rollups', async () => {
    assert.equal((await page.goto(to(''))).status(), 200)
    assert.equal(await page.locator('tbody tr').count(), 25)
    assert.match(await page.getByRole('main').innerText(), /could not load the numbers/)
    assert.equal((await page.goto(to('destinations/orders'))).status(), 200)
    assert.match(await page.getByRole('main').innerText(), /could not load/i)
  })
  await close()
})

test('a form that meets a failing store says so and can be sent again', async () => {
  await control('destination', { id: 'faulty', name: 'Faulty', topic: 'user.deleted' })
  const { page, to, close } = await enter('acme')
  await page.goto(to('destinations/faulty/disable'))
  await withFault('apply', async () => {
    const response = await follow(page, page.getByRole('main').getByRole('button', { name: 'Disable' }))
    assert.equal(response.status(), 503)
  })
  await page.goto(to('destinations/faulty/disable'))
  assert.equal((await follow(page, page.getByRole('main').getByRole('button', { name: 'Disable' }))).status(), 200)
  await close()
})

test('a second click does nothing a second time', async () => {
  await control('destination', { id: 'twice', name: 'Twice', topic: 'user.deleted', sink: 'slow' })
  const event = await control('publish', { topic: 'user.deleted' })
  const { page, to, close } = await enter('acme')
  const here = to(`destinations/twice/deliveries/${event}`)
  for (let tries = 0; tries < 20; tries++) {
    await page.goto(here)
    if (await page.locator('form[action$="/retry"]').count()) break
    await page.waitForTimeout(500)
  }
  const form = page.locator('form[action$="/retry"]')
  const answers = await form.evaluate(async form => {
    const send = () => fetch(form.action, { method: 'POST', body: new URLSearchParams(new FormData(form)) })
    return (await Promise.all([send(), send()])).map(answer => answer.status)
  })
  assert.ok(answers.every(status => status === 200), `${answers}`)
  // One more than the automatic ones, which are as many as they were.
  await page.waitForTimeout(4000)
  await page.goto(here)
  const manual = await page.locator('ol.ladder').getByText(/manual/).count()
  assert.equal(manual, 1)
  await close()
})

test('what is opened from a list is in the first screen of a phone, and states are seen there', async () => {
  const { page, to, close } = await enter('acme', { viewport: { width: 390, height: 844 } })
  await page.goto(to('destinations/billing/deliveries/evt-failed'))
  const heading = await page.locator('main h1').boundingBox()
  assert.ok(heading.y < 400, `the heading is at ${heading.y}`)
  for (const path of ['', 'destinations/orders/deliveries', 'activity']) {
    await page.goto(to(path))
    const box = await page.locator('tbody .pill').first().boundingBox()
    assert.ok(box.x >= 0 && box.x + box.width <= 390, `${path}: ${JSON.stringify(box)}`)
  }
  await close()
  // Where nothing is wrong the list begins high up.
  const many = await enter('many')
  const row = await many.page.locator('tbody tr').first().boundingBox()
  assert.ok(row.y <= 240, `the first row is at ${row.y}`)
  await many.close()
})

test('a cURL command sends the same bytes', async t => {
  const { execFileSync } = await import('node:child_process')
  try { execFileSync('curl', ['--version']) } catch { return t.skip('there is no curl') }
  const { page, to, close } = await enter('acme')
  const download = await page.evaluate(async url => (await fetch(url)).text(), to('destinations/orders/deliveries/evt-1/attempts/1/curl'))
  const payload = await page.evaluate(async url => (await fetch(url)).text(), to('destinations/orders/deliveries/evt-1/payload'))
  execFileSync('bash', ['-c', download], { env: { PATH: process.env.PATH, no_proxy: '*' }, stdio: 'pipe' })
  const last = JSON.parse(await control('last'))
  assert.equal(last.body, payload)
  assert.equal(last.headers['webhook-id'], 'evt-1')
  await close()
})
