// Light and dark, the application's accent, and what users set in their systems.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { A, enter, linkInto, MOUNTS, none, violations } from './lib.mjs'

const ground = page => page.evaluate(() => getComputedStyle(document.body).backgroundColor)
const [LIGHT, DARK] = ['rgb(255, 255, 255)', 'rgb(15, 17, 22)']

test('the theme is the system’s, the link’s, or what was chosen, in that order', async () => {
  const { page, to, close } = await enter('acme')
  for (const [scheme, color] of [['light', LIGHT], ['dark', DARK]]) {
    await page.emulateMedia({ colorScheme: scheme })
    assert.equal(await ground(page), color, 'follows the system at once')
  }
  await page.emulateMedia({ colorScheme: 'light' })
  await page.goto(to('preferences'))
  const dark = page.getByRole('main').getByRole('combobox', { name: /theme/i })
  if (await dark.count()) await dark.selectOption('dark')
  else await page.getByRole('radio', { name: /dark/i }).check()
  await page.getByRole('button', { name: 'Save' }).click()
  await page.locator('.flash').waitFor()
  assert.equal(await ground(page), DARK, 'what was chosen beats the system')
  assert.equal(await page.evaluate(() => document.documentElement.dataset.theme), 'dark')
  await page.goto(to('?theme=light'))
  assert.equal(await ground(page), LIGHT, 'the link beats what was chosen')
  await page.goto(to('activity'))
  assert.equal(await ground(page), LIGHT, 'and holds')
  await page.goto(to('?theme=purple'))
  assert.equal(await ground(page), LIGHT, 'what is no theme is dropped')
  await page.getByRole('button', { name: 'Sign out' }).click()
  await page.goto(await linkInto(MOUNTS.webhooks, 'acme'))
  assert.equal(await ground(page), DARK, 'a link that names none falls back to what was chosen')
  await close()
})

test('the first thing that is painted has the right colours', async () => {
  const { context, page, to, close } = await enter('acme', { colorScheme: 'light' })
  await page.goto(to('?theme=dark'))
  await context.addInitScript(() => {
    window.grounds = []
    const look = () => {
      if (document.body) window.grounds.push(getComputedStyle(document.body).backgroundColor)
      if (document.readyState !== 'complete') requestAnimationFrame(look)
    }
    requestAnimationFrame(look)
  })
  const cdp = await context.newCDPSession(page)
  await cdp.send('Network.enable')
  await cdp.send('Network.setCacheDisabled', { cacheDisabled: true })
  await cdp.send('Network.emulateNetworkConditions', { offline: false, latency: 80, downloadThroughput: 60000, uploadThroughput: 60000 })
  for (const path of ['', 'destinations/orders', 'activity']) {
    await page.goto(to(path))
    await page.waitForTimeout(100)
    const seen = await page.evaluate(() => [...new Set(window.grounds)])
    assert.deepEqual(seen, [DARK], path)
  }
  await close()
})

const ACCENTS = ['ffd500', 'ffffff', '000000', '7f7f7f', '0b1f4d', 'ff5a1f', '00ff00', 'ff00ff', '2563eb', 'e11d48', '14b8a6', 'c0c0c0']
for (const accent of ACCENTS) {
  test(`everything can be read with the accent #${accent}`, async () => {
    const mount = `${A}/accent/${accent}/`
    const { page, to, close } = await enter('acme', { mount })
    for (const path of ['', 'destinations/billing', 'destinations/orders/deliveries', 'destinations/new/webhook']) {
      await page.goto(to(path))
      for (const colorScheme of ['light', 'dark']) {
        await page.emulateMedia({ colorScheme, reducedMotion: 'reduce' })
        none(await violations(page, ['color-contrast']), `${path} ${colorScheme}`)
        const button = page.locator('.btn.primary').first()
        if (await button.count()) {
          // A button must be seen to be one, whatever its colour.
          await page.mouse.move(0, 0)
          const edges = await button.evaluate(edge)
          assert.ok(edges.some(ratio => ratio >= 3), `${path} ${colorScheme}: edges of ${edges}`)
          await button.hover()
          none(await violations(page, ['color-contrast']), `${path} ${colorScheme}, with the pointer on a button`)
        }
      }
    }
    await close()
  })
}

/** In the browser: how much a button's fill and border stand out from the page. */
function edge(button) {
  const parse = color => color.match(/[\d.]+/g).map(Number)
  const light = ([r, g, b]) => [r, g, b]
    .map(v => v / 255).map(v => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4))
    .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0)
  const ratio = (a, b) => (Math.max(light(a), light(b)) + 0.05) / (Math.min(light(a), light(b)) + 0.05)
  const page = parse(getComputedStyle(document.body).backgroundColor)
  const style = getComputedStyle(button)
  return [style.backgroundColor, style.borderTopColor].map(parse)
    .filter(color => color.length < 4 || color[3] > 0)
    .map(color => ratio(color, page))
}

test('the application’s accent is on its buttons', async () => {
  const { page, close } = await enter('acme', { mount: `${A}/accent/ffd500/`, colorScheme: 'light' })
  assert.equal(await page.locator('.btn.primary').first().evaluate(one => getComputedStyle(one).backgroundColor), 'rgb(255, 213, 0)')
  await close()
})

test('with the system’s own colours states and focus can still be told apart', async () => {
  const { page, to, close } = await enter('acme', { forcedColors: 'active' })
  await page.goto(to(''))
  for (const pill of await page.locator('.pill').all()) assert.match(await pill.innerText(), /\w/)
  const borders = await page.locator('.pill').first().evaluate(one => getComputedStyle(one))
  assert.ok(borders, 'there is one')
  await page.keyboard.press('Tab')
  await page.keyboard.press('Tab')
  const outline = await page.evaluate(() => getComputedStyle(document.activeElement).outlineStyle)
  assert.notEqual(outline, 'none')
  const before = await page.screenshot()
  await page.keyboard.press('Tab')
  assert.ok(!before.equals(await page.screenshot()), 'the focus is seen to move')
  // Charts keep their bars: their fills are no text, so nothing draws them unless told to.
  await page.goto(to('destinations/orders'))
  const fills = await page.locator('svg rect').evaluateAll(all => all.map(one => getComputedStyle(one).fill))
  assert.ok(fills.some(fill => fill !== 'none'))
  await close()
})

test('for those who want no motion nothing moves', async () => {
  const { page, to, close } = await enter('acme', { reducedMotion: 'reduce' })
  for (const path of ['', 'destinations/orders', 'destinations/orders/deliveries?live=1']) {
    await page.goto(to(path))
    await page.locator('.btn').first().hover()
    assert.equal(await page.evaluate(() => document.getAnimations().length), 0, path)
  }
  await close()
})

test('a status is never told by its colour alone', async () => {
  const { page, to, close } = await enter('acme')
  for (const path of ['', 'destinations/orders/deliveries', 'destinations/billing/deliveries/evt-failed']) {
    await page.goto(to(path))
    const pills = await page.locator('.pill').evaluateAll(all => all.map(one => [one.innerText.trim(), one.querySelectorAll('svg').length]))
    assert.ok(pills.length > 0)
    for (const [text, signs] of pills) assert.ok(text && signs === 1, `${path}: ${text}`)
  }
  await page.goto(to('destinations/orders'))
  const chart = page.locator('figure svg[role=img], svg[role=img]').first()
  assert.ok(await chart.evaluate(one => one.querySelector('title')?.textContent && one.querySelector('desc')?.textContent))
  await page.getByText('Show as table').first().click()
  assert.ok(await page.locator('details[open] table').first().isVisible())
  await close()
})
