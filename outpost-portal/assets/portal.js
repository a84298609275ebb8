document.documentElement.classList.add('js')
addEventListener('DOMContentLoaded', () => {
const d = document, $ = (s, r = d) => r.querySelector(s), all = (s, r = d) => [...r.querySelectorAll(s)]
const on = addEventListener, say = text => { if (text) $('#say').textContent = text }
let dirty = false, made = 0, end, fields = 'input,select,textarea'

const clear = row => {
 for (const e of all('.error', row)) e.remove()
 for (const f of all(fields, row)) f.value = '', f.ariaInvalid = null, f.removeAttribute('aria-describedby')
}
if (!navigator.clipboard) for (const b of all('[data-copy]')) b.hidden = true
on('click', e => {
 const b = e.target.closest('[data-copy],[data-add],[data-remove],[data-stay]')
 if (!b) return
 if (b.dataset.stay) return look(b.dataset.stay)
 const { copy, add, done } = b.dataset, row = b.closest('.row')
 dirty ||= !copy
 if (copy) {
  const from = $(copy), word = b.lastChild, was = word.data
  navigator.clipboard.writeText(from.value ?? from.textContent).then(() => {
   say(done)
   if (done && was != done) word.data = done, setTimeout(() => word.data = was, 2e3)
  }, () => 0)
 } else if (add) {
  const last = all('.row', $(add)).pop(), next = last.cloneNode(true), n = '-' + ++made
  for (const f of all('[id]', next)) f.id += n
  for (const l of all('[for]', next)) l.htmlFor += n
  clear(next)
  last.after(next), $('input', next).focus()
 } else {
  const other = all('.row', row.parentNode).find(r => r != row)
  if (other) row.remove(), $('input', other).focus()
  else clear(row)
 }
})

on('change', ({ target: f }) => {
 if (f.dataset.all) for (const c of all('[type=checkbox]', $(f.dataset.all))) c.checked = f.checked
 else if (f.matches('form[data-auto] :is(select,[type=checkbox],[type=radio])')) f.form.requestSubmit()
})
on('input', ({ target: f }) => {
 const { filter } = f.dataset, list = filter && $(filter), q = f.value.toLowerCase()
 if (!list) return dirty ||= f.matches('[data-guard] *')
 for (const l of all('label', list)) l.hidden = !l.textContent.toLowerCase().includes(q)
 for (const g of all('details', list)) g.open ||= q, g.hidden = !$('label:not([hidden])', g)
})
on('submit', e => { dirty &&= !e.target.matches('[data-guard]') })
on('beforeunload', e => { if (dirty && $('[data-guard]')) e.preventDefault() })

on('keydown', e => {
 const k = e.key, f = e.target, rows = all('.rowlink'), at = rows.indexOf(d.activeElement)
 if (k == 'Enter' && f.dataset.filter) e.preventDefault()
 if (f.matches(fields) || e.ctrlKey || e.metaKey || e.altKey || !$('html[data-keys]')) return
 const to = { '/': $('.find input'), j: rows[at + 1], k: rows[at - 1] }[k]
 if (to) e.preventDefault(), to.focus()
 if ('r?'.includes(k)) $(`[data-key="${k}"]`)?.click()
})

const ends = from => { end = $('[data-ends]', from)?.dataset.ends ?? end }
ends(d)
if (end) setInterval(() => $('[data-ends]').hidden = end - Date.now() / 1e3 > 120, 1e3)
$('[data-focus]')?.focus()
for (const i of all('input[data-zone]')) i.value ||= Intl.DateTimeFormat().resolvedOptions().timeZone
for (const c of all('[data-refresh]')) setTimeout(() => dirty || location.reload(), c.dataset.refresh * 1e3)

const live = () => all('[data-live]'), until = Date.now() + 6e5, seen = new Map(live().map(c => [c.id, c.innerHTML]))
const key = c => all('tr,li', c).length + $('.rowlink', c)?.href
const next = () => { if (Date.now() < until && live()[0]) setTimeout(look, 5e3) }
const look = async at => {
 const r = d.hidden || await fetch(at || location).catch(() => 0)
 if (r.ok && !r.redirected) {
  const page = new DOMParser().parseFromString(await r.text(), 'text/html')
  ends(page)
  for (const c of live()) {
   const n = page.getElementById(c.id), y = scrollY
   if (!n || seen.get(c.id) == n.innerHTML || c.contains(d.activeElement) || $('input:checked', c)) continue
   seen.set(c.id, n.innerHTML)
   if (key(c) != key(n)) say(c.dataset.liveText)
   if (!n.matches('[data-live]')) c.removeAttribute('data-live')
   c.replaceChildren(...n.childNodes)
   scrollTo(scrollX, y)
  }
 }
 next()
}
next()
})
