"""The cost plot in a real browser, in its own letters: names apart, circles as links, a phone, the keyboard."""

from __future__ import annotations

import pytest

pytestmark = pytest.mark.browser

OVERLAPS = """() => {
  const found = [];
  const meet = (a, b) => a.left < b.right && b.left < a.right && a.top < b.bottom && b.top < a.bottom;
  document.querySelectorAll('.figure.cost svg').forEach(svg => {
    const names = [...svg.querySelectorAll('a text')].map(each => [each.textContent, each.getBoundingClientRect()]);
    const frame = svg.getBoundingClientRect();
    const circles = [...svg.querySelectorAll('a circle')].map(each => each.getBoundingClientRect());
    names.forEach(([name, box], n) => {
      // The letters themselves: a line is higher than they are.
      const ink = { left: box.left, right: box.right, top: box.top + 2, bottom: box.bottom - 2 };
      names.slice(n + 1).forEach(([other, its]) => { if (meet(ink, its)) { found.push(name + ' / ' + other); } });
      if (box.left < frame.left || box.right > frame.right) { found.push(name + ' is cut'); }
      circles.forEach(its => {
        const x = Math.max(ink.left, Math.min(ink.right, its.left + its.width / 2));
        const y = Math.max(ink.top, Math.min(ink.bottom, its.top + its.height / 2));
        if (Math.hypot(x - its.left - its.width / 2, y - its.top - its.height / 2) < its.width / 2) {
          found.push(name + ' on a circle');
        }
      });
    });
  });
  return found;
}"""


@pytest.mark.parametrize("width", [1440, 390])
def test_no_name_lies_on_another_or_on_a_circle(visit, example_site, width):
    page = visit(viewport={"width": width, "height": 844}).open(example_site / "cost.html")
    assert page.locator(".figure.cost a text").count() > 50
    assert page.evaluate(OVERLAPS) == []


def test_a_circle_is_reached_by_keyboard_seen_there_and_leads_to_its_entry(visit, example_site):
    page = visit().open(example_site / "cost.html")
    circle = page.locator(".figure.cost a circle").first
    before = circle.evaluate("each => getComputedStyle(each).strokeWidth")
    page.locator(".figure.cost .drawing").first.focus()
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.querySelector('circle') !== null")
    assert circle.evaluate("each => getComputedStyle(each).strokeWidth") != before
    name = page.evaluate("document.activeElement.querySelector('text').textContent")
    page.keyboard.press("Enter")
    page.wait_for_url("**/entries/*.html")
    assert page.locator("h1").inner_text().startswith(name.rstrip("…"))


def test_on_a_phone_the_plot_scrolls_in_its_region_with_letters_of_their_size(visit, example_site):
    page = visit(viewport={"width": 390, "height": 844}).open(example_site / "cost.html")
    region = page.locator(".figure.cost .drawing").first
    assert region.evaluate("each => each.scrollWidth > each.clientWidth")
    text = page.locator(".figure.cost a text").first
    assert text.evaluate("each => each.getBoundingClientRect().height") >= 11
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_the_same_numbers_stand_in_a_table(visit, example_site):
    page = visit(java_script_enabled=False).open(example_site / "cost.html")
    page.locator(".cost-numbers summary").first.click()
    links = page.locator("section").first.locator(".figure.cost a")
    assert page.locator(".cost-numbers table").first.locator("tbody tr").count() == links.count()
