// All that a user does with a destination, from adding to deleting it: with a mouse, with the keyboard alone, and with
// scripts off.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { A, control, enter, follow, none } from './lib.mjs'

/** Goes about as somebody with a mouse does, and waits for the page that follows. */
class Mouse {
  constructor(page) { this.page = page }
  async press(target) { await target.click() }
  async type(target, text) { await target.click(); await target.fill(text) }
  async tick(target) { await target.check() }
  async choose(target, value) { await target.selectOption(value) }
}

/** Reaches everything by Tab, and sees to it that it can be seen where the focus is. */
class Keyboard {
  constructor(page) { this.page = page; this.hidden = [] }
  async reach(target) {
    await target.waitFor()
    const wanted = await target.elementHandle()
    for (let steps = 0; steps < 400; steps++) {
      if (await wanted.evaluate(one => one === document.activeElement)) {
        const bad = await wanted.evaluate(focusIsSeen)
        if (bad) this.hidden.push(`${await wanted.evaluate(one => one.outerHTML.slice(0, 80))}: ${bad}`)
        return
      }
      await this.page.keyboard.press('Tab')
    }
    throw new Error(`no key leads to ${target}`)
  }
  async press(target) { await this.reach(target); await this.page.keyboard.press('Enter') }
  async type(target, text) {
    await this.reach(target)
    await this.page.keyboard.press('Control+A')
    await this.page.keyboard.type(text)
  }
  async tick(target) {
    await this.reach(target)
    if (!await target.isChecked()) await this.page.keyboard.press('Space')
    assert.ok(await target.isChecked())
  }
  async choose(target, value) {
    await this.reach(target)
    const label = await target.locator(`option[value="${value}"]`).innerText()
    await this.page.keyboard.type(label)
    assert.equal(await target.inputValue(), value)
  }
}

/** In the browser: why the focus on an element is not seen, if it is not. */
function focusIsSeen(one) {
  const box = one.getBoundingClientRect()
  const at = document.elementFromPoint(box.x + box.width / 2, box.y + Math.min(box.height / 2, innerHeight - box.y - 2))
  const label = one.closest('label')
  if (at && !one.contains(at) && !at.contains(one) && !label?.contains(at)) return `under ${at.outerHTML.slice(0, 60)}`
  const styles = [one, ...(one.parentElement ? [one.parentElement] : [])].map(one => getComputedStyle(one))
  const after = getComputedStyle(one, '::after')
  const outlined = style => style.outlineStyle !== 'none' && parseFloat(style.outlineWidth) > 0
  return outlined(styles[0]) || outlined(styles[1]) || outlined(after) ? '' : 'no outline'
}

async function journey(by, page, name) {
  const main = page.getByRole('main')
  const button = name => main.getByRole('button', { name, exact: true })
  const link = name => main.getByRole('link', { name, exact: true })
  const heading = text => page.getByRole('heading', { level: 1, name: text })
  const flash = text => page.locator('.flash').filter({ hasText: text })

  // Adding, with a mistake first.
  await by.press(link('Add destination'))
  await heading(/add/i).waitFor()
  await by.type(main.getByLabel(/name/i).first(), name)
  await by.type(main.getByLabel(/url/i).first(), 'example')
  await by.press(button('Add destination'))
  await main.getByRole('alert').waitFor()
  assert.match(await page.title(), /^Error: /)
  await by.type(main.getByLabel(/url/i).first(), `${A}/sink/ok`)
  await by.tick(main.getByLabel('user.deleted', { exact: true }))
  await by.press(button('Add destination'))
  await heading(name).waitFor()
  const id = new URL(page.url()).pathname.split('/').pop()

  // A test event arrives.
  await by.press(main.locator('.head').getByRole('link', { name: 'Send test event' }))
  await main.getByLabel(/payload|data/i).first().waitFor()
  await by.type(main.getByLabel(/payload|data/i).first(), `{"journey":"${id}"}`)
  await by.press(button('Send test event'))
  await page.waitForURL(/test\?/)
  const last = JSON.parse(await control('last'))
  assert.match(last.body, new RegExp(`"journey":"${id}"`), 'the receiver got it')
  await main.getByText('200').first().waitFor()

  // A delivery is looked at and sent again.
  const event = await control('publish', { topic: 'user.deleted', data: `{"user":"${id}"}` })
  await by.press(main.locator('nav.tabs').getByRole('link', { name: 'Deliveries' }))
  await shown(page, main.locator('a.rowlink').first(), main.getByText('Delivered').nth(1))
  await by.press(main.locator('tr a.rowlink').first())
  await page.waitForURL(new RegExp(`deliveries/${event}`))
  await by.press(button('Retry now'))
  const again = button('Send it again')
  await Promise.race([flash(/queued/i).waitFor(), again.waitFor()])
  if (await again.isVisible()) {
    await by.press(again)
    await flash(/queued/i).waitFor()
  }
  await shown(page, main.locator('ol.ladder').getByText(/manual/).first())

  // The secret is replaced; both sign for a while.
  await by.press(page.locator('nav.crumbs').getByRole('link', { name }))
  await by.press(main.locator('nav.tabs').getByRole('link', { name: 'Signing secret' }))
  await by.press(button('Reveal'))
  const secret = await main.locator('#secret-0').innerText()
  assert.match(secret, /^whsec_/)
  await by.choose(main.getByLabel(/old secret stays valid/i), '3600')
  await by.press(button('Rotate secret'))
  await flash(/new secret/i).waitFor()
  assert.equal(await main.getByText(secret).count(), 0, 'it is hidden again')
  await by.press(button('Reveal'))
  assert.notEqual(await main.locator('#secret-0').innerText(), secret)
  assert.equal(await main.locator('#secret-1').innerText(), secret)

  // Off, on, and gone.
  await by.press(main.locator('nav.tabs').getByRole('link', { name: 'Settings' }))
  await by.press(link('Disable destination…'))
  await heading(/disable/i).waitFor()
  await by.press(button('Disable'))
  await flash(/disabled/i).waitFor()
  await main.locator('.pill', { hasText: 'Disabled' }).first().waitFor()
  await by.press(button('Enable'))
  await flash(/enabled/i).waitFor()
  await main.locator('.pill', { hasText: 'Active' }).first().waitFor()
  await by.press(main.locator('nav.tabs').getByRole('link', { name: 'Settings' }))
  await by.press(link('Delete destination…'))
  await heading(/delete/i).waitFor()
  const confirm = main.getByLabel(/to confirm/)
  if (await confirm.count()) await by.type(confirm, name)
  await by.press(button('Delete'))
  await flash(/deleted/i).waitFor()
  assert.equal(await main.getByText(name, { exact: true }).count(), 0)
  const gone = await page.goto(page.url().replace(/\/?$/, `/destinations/${id}`))
  assert.equal(gone.status(), 404)
}

/** Waits for something that comes while the page is loaded anew; at most a dozen times. */
async function shown(page, ...targets) {
  for (let tries = 0; tries < 12; tries++) {
    const there = await Promise.all(targets.map(target => target.isVisible()))
    if (there.every(Boolean)) return
    await page.waitForTimeout(500)
    await page.reload()
  }
  throw new Error(`never seen: ${targets.join(', ')}`)
}

test('everything can be done with a mouse', async () => {
  const { page, heard, close } = await enter('acme')
  await journey(new Mouse(page), page, 'By mouse')
  none([...heard.errors, ...heard.dialogs])
  await close()
})

test('everything can be done with the keyboard alone, and the focus is always seen', async () => {
  const { page, close } = await enter('acme')
  const keyboard = new Keyboard(page)
  await journey(keyboard, page, 'By keyboard')
  none(keyboard.hidden, 'focus not seen')
  await close()
})

test('everything can be done with scripts off', async () => {
  const { page, close } = await enter('acme', { javaScriptEnabled: false })
  await journey(new Mouse(page), page, 'Without scripts')
  await close()
})

test('with scripts off nothing is shown that needs them, and filters can be applied', async () => {
  const { page, to, close } = await enter('acme', { javaScriptEnabled: false })
  for (const path of ['', 'destinations/new/webhook', 'destinations/orders', 'destinations/orders/deliveries',
    'destinations/billing/deliveries/evt-failed', 'destinations/orders/settings', 'activity']) {
    await page.goto(to(path))
    for (const one of await page.locator('.jo').all()) assert.ok(!await one.isVisible(), `${path}: ${await one.innerText()}`)
  }
  await page.goto(to(''))
  await page.getByLabel('Search').fill('billing')
  await follow(page, page.getByRole('button', { name: 'Apply' }))
  assert.match(page.url(), /q=billing/)
  assert.equal(await page.locator('tbody tr').count(), 1)
  await page.goto(to('destinations/new/webhook'))
  const rows = page.getByLabel(/header name/i)
  for (const details of await page.locator('main details:not([open]) > summary').all()) await details.click()
  const before = await rows.count()
  await follow(page, page.getByRole('button', { name: /add.*(header|row)/i }).first())
  assert.equal(await rows.count(), before + 1)
  await close()
})

test('the same page is sent with and without scripts', async () => {
  const on = await enter('acme')
  const off = await enter('acme', { javaScriptEnabled: false })
  // What differs between any two answers: tokens of forms, times, ends of sessions.
  const plain = text => text.replace(/value="[\w-]{60,}"/g, '').replace(/data-ends="\d+"/, '').replace(/\d\d:\d\d:\d\d/g, '')
  for (const path of ['', 'destinations/new/webhook', 'destinations/orders/settings', 'activity']) {
    const [one, other] = await Promise.all([on, off].map(async ({ page, to }) => (await page.goto(to(path))).text()))
    assert.equal(plain(one), plain(other), path)
  }
  await on.close()
  await off.close()
})
