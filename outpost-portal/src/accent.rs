//! The host's one colour, turned into the accents of both themes so that text and edges stay readable whatever it is.

use outpost_core::Problem;

/// The grounds accents must stand out from: page, header rows, hovered rows. The same as in `assets/portal.css`.
const LIGHT: Grounds =
    Grounds { page: Rgb(255, 255, 255), one: Rgb(247, 248, 250), two: Rgb(238, 240, 243), soft: 0.10, dark: false };
const DARK: Grounds =
    Grounds { page: Rgb(15, 17, 22), one: Rgb(23, 26, 33), two: Rgb(31, 36, 45), soft: 0.18, dark: true };

/// What accent text must reach; a little above the 4.5 of the rule, so that rounding cannot break it.
const TEXT: f64 = 4.6;
/// What the boundary of a button must reach.
const EDGE: f64 = 3.0;

/// The colour of the host, checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Accent(Rgb);

impl Default for Accent {
    fn default() -> Self {
        Self(Rgb(0x4f, 0x46, 0xe5))
    }
}

impl Accent {
    /// Reads `#rgb` or `#rrggbb`, in either case; anything else is a problem of the field `accent_color`.
    pub(crate) fn parse(text: &str) -> Result<Self, Problem> {
        let digits = text.strip_prefix('#').and_then(|hex| {
            hex.chars().map(|c| c.to_digit(16).and_then(|d| u8::try_from(d).ok())).collect::<Option<Vec<u8>>>()
        });
        match digits.as_deref() {
            Some(&[r, g, b]) => Ok(Self(Rgb(r * 17, g * 17, b * 17))),
            Some(&[r, s, g, h, b, c]) => Ok(Self(Rgb(r * 16 + s, g * 16 + h, b * 16 + c))),
            _ => Err(Problem::new("accent_color", "must be a color written as #rgb or #rrggbb")),
        }
    }

    /// The theme stylesheet: the `--op-accent…` properties for light, for dark by the system's wish, and for dark by choice.
    pub(crate) fn css(&self) -> String {
        let light = self.shades(&LIGHT).declarations();
        let dark = self.shades(&DARK).declarations();
        format!(
            ".op{{{light}}}\n\
             @media (prefers-color-scheme: dark){{html:not([data-theme=light]) .op,html.op:not([data-theme=light]){{{dark}}}}}\n\
             html[data-theme=dark] .op,html.op[data-theme=dark]{{{dark}}}\n"
        )
    }

    fn shades(&self, grounds: &Grounds) -> Shades {
        let fill = self.0;
        let white = Rgb(255, 255, 255);
        // Pure black: with it the worst colour still reaches 4.58, with a dark grey it would not.
        let black = Rgb(0, 0, 0);
        let on_white = fill.contrast(white) >= fill.contrast(black);
        let lch = Lch::of(fill);
        let hover = Lch { l: lch.l + if on_white { -0.06 } else { 0.05 }, ..lch }.rgb();
        let soft = grounds.page.mix(fill, grounds.soft);
        let text = readable(fill, &[grounds.page, grounds.one, grounds.two, soft], grounds.dark);
        let edge = if fill.contrast(grounds.page) >= EDGE { None } else { Some(text) };
        Shades { fill, on: if on_white { white } else { black }, hover, text, soft, edge }
    }
}

struct Grounds {
    page: Rgb,
    one: Rgb,
    two: Rgb,
    /// How much of the accent is in the soft background, 0 to 1.
    soft: f64,
    dark: bool,
}

struct Shades {
    fill: Rgb,
    on: Rgb,
    hover: Rgb,
    text: Rgb,
    soft: Rgb,
    edge: Option<Rgb>,
}

impl Shades {
    fn declarations(&self) -> String {
        let Self { fill, on, hover, text, soft, edge } = self;
        let edge = edge.map_or_else(|| "transparent".to_owned(), |c| c.to_string());
        format!(
            "--op-accent:{fill};--op-on-accent:{on};--op-accent-hover:{hover};--op-accent-text:{text};\
             --op-accent-soft:{soft};--op-accent-edge:{edge}"
        )
    }
}

/// `color` itself if it can be read on all `grounds`, else the nearest lightness of the same hue that can.
fn readable(color: Rgb, grounds: &[Rgb], dark: bool) -> Rgb {
    let good = |c: Rgb| grounds.iter().all(|g| c.contrast(*g) >= TEXT);
    if good(color) {
        return color;
    }
    let lch = Lch::of(color);
    // `far` can always be read (black on light, white on dark); the search narrows down to the first that can.
    let (mut near, mut far) = (lch.l, if dark { 1.0 } else { 0.0 });
    for _ in 0..24 {
        let middle = f64::midpoint(near, far);
        if good(Lch { l: middle, ..lch }.rgb()) {
            far = middle;
        } else {
            near = middle;
        }
    }
    Lch { l: far, ..lch }.rgb()
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Rgb(u8, u8, u8);

impl std::fmt::Display for Rgb {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "#{:02x}{:02x}{:02x}", self.0, self.1, self.2)
    }
}

impl Rgb {
    fn linear(self) -> [f64; 3] {
        [self.0, self.1, self.2].map(|v| {
            let v = f64::from(v) / 255.0;
            if v <= 0.04045 { v / 12.92 } else { ((v + 0.055) / 1.055).powf(2.4) }
        })
    }

    /// The relative luminance of WCAG 2, 0 to 1.
    fn luminance(self) -> f64 {
        let [r, g, b] = self.linear();
        0.2126 * r + 0.7152 * g + 0.0722 * b
    }

    /// The contrast ratio of WCAG 2, 1 to 21.
    fn contrast(self, other: Self) -> f64 {
        let (a, b) = (self.luminance(), other.luminance());
        (a.max(b) + 0.05) / (a.min(b) + 0.05)
    }

    fn mix(self, other: Self, share: f64) -> Self {
        let part = |a: u8, b: u8| byte((f64::from(a) + (f64::from(b) - f64::from(a)) * share) / 255.0);
        Self(part(self.0, other.0), part(self.1, other.1), part(self.2, other.2))
    }
}

/// A share of 0 to 1 as a byte; what is outside is cut.
fn byte(share: f64) -> u8 {
    (share * 255.0).round().clamp(0.0, 255.0) as u8
}

/// A colour in OKLCH: lightness 0 to 1, chroma from 0, and the hue as a unit vector so that grey needs no angle.
#[derive(Clone, Copy)]
struct Lch {
    l: f64,
    c: f64,
    cos: f64,
    sin: f64,
}

impl Lch {
    fn of(color: Rgb) -> Self {
        let [r, g, b] = color.linear();
        let l = (0.412_221_470_8 * r + 0.536_332_536_3 * g + 0.051_445_992_9 * b).cbrt();
        let m = (0.211_903_498_2 * r + 0.680_699_545_1 * g + 0.107_396_956_6 * b).cbrt();
        let s = (0.088_302_461_9 * r + 0.281_718_837_6 * g + 0.629_978_700_5 * b).cbrt();
        let lightness = 0.210_454_255_3 * l + 0.793_617_785_0 * m - 0.004_072_046_8 * s;
        let x = 1.977_998_495_1 * l - 2.428_592_205_0 * m + 0.450_593_709_9 * s;
        let y = 0.025_904_037_1 * l + 0.782_771_766_2 * m - 0.808_675_766_0 * s;
        let c = x.hypot(y);
        if c < 1e-6 {
            Self { l: lightness, c: 0.0, cos: 1.0, sin: 0.0 }
        } else {
            Self { l: lightness, c, cos: x / c, sin: y / c }
        }
    }

    /// The nearest colour a screen has: the chroma shrinks in small steps until all three parts are within bounds.
    fn rgb(self) -> Rgb {
        let l = self.l.clamp(0.0, 1.0);
        let inside = |parts: [f64; 3]| parts.iter().all(|v| (-1e-4..=1.0 + 1e-4).contains(v));
        let mut chroma = self.c;
        let mut linear = self.linear(l, chroma);
        while chroma > 0.0 && !inside(linear) {
            chroma = (chroma - 0.004).max(0.0);
            linear = self.linear(l, chroma);
        }
        let [r, g, b] = linear.map(|v| {
            let v = v.clamp(0.0, 1.0);
            byte(if v <= 0.003_130_8 { v * 12.92 } else { 1.055 * v.powf(1.0 / 2.4) - 0.055 })
        });
        Rgb(r, g, b)
    }

    fn linear(self, lightness: f64, chroma: f64) -> [f64; 3] {
        let (x, y) = (chroma * self.cos, chroma * self.sin);
        let l = (lightness + 0.396_337_777_4 * x + 0.215_803_757_3 * y).powi(3);
        let m = (lightness - 0.105_561_345_8 * x - 0.063_854_172_8 * y).powi(3);
        let s = (lightness - 0.089_484_177_5 * x - 1.291_485_548_0 * y).powi(3);
        [
            4.076_741_662_1 * l - 3.307_711_591_3 * m + 0.230_969_929_2 * s,
            -1.268_438_004_6 * l + 2.609_757_401_1 * m - 0.341_319_396_5 * s,
            -0.004_196_086_3 * l - 0.703_418_614_7 * m + 1.707_614_701_0 * s,
        ]
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const PORTAL_CSS: &str = include_str!("../assets/portal.css");

    #[test]
    fn both_spellings_of_a_colour_are_read() {
        assert_eq!(Accent::parse("#fa0").unwrap(), Accent(Rgb(0xff, 0xaa, 0)));
        assert_eq!(Accent::parse("#4F46e5").unwrap(), Accent::default());
    }

    #[test]
    fn anything_else_is_a_problem_of_the_field() {
        for text in
            ["", "#", "4f46e5", "#4f46e", "#4f46e55", "#12345g", "#ffff", "red", "#+1+2+3", " #fff", "#fff;}", "#é1"]
        {
            assert_eq!(Accent::parse(text).unwrap_err().field, "accent_color", "{text}");
        }
    }

    #[test]
    fn every_colour_stays_readable_in_both_themes() {
        let (mut on, mut hover, mut text, mut edge) = (21.0_f64, 21.0_f64, 21.0_f64, 21.0_f64);
        let steps = || (0..18).map(|n| n * 15_u8);
        for (r, g, b) in steps().flat_map(|r| steps().flat_map(move |g| steps().map(move |b| (r, g, b)))) {
            for grounds in [&LIGHT, &DARK] {
                let shades = Accent(Rgb(r, g, b)).shades(grounds);
                on = on.min(shades.on.contrast(shades.fill));
                hover = hover.min(shades.on.contrast(shades.hover));
                for ground in [grounds.page, grounds.one, grounds.two, shades.soft] {
                    text = text.min(shades.text.contrast(ground));
                }
                edge = edge.min(shades.edge.unwrap_or(shades.fill).contrast(grounds.page));
            }
        }
        assert!(on >= 4.58 && hover >= 4.58 && text >= TEXT && edge >= EDGE, "{on} {hover} {text} {edge}");
    }

    #[test]
    fn known_colours_give_known_accents() {
        let shades = |text: &str, grounds: &Grounds| Accent::parse(text).unwrap().shades(grounds);
        let yellow = shades("#ffd500", &LIGHT);
        assert_eq!((yellow.on, yellow.text, yellow.edge), (hex("#000"), hex("#816a00"), Some(hex("#816a00"))));
        assert!((yellow.on.contrast(yellow.fill) - 14.8).abs() < 0.05);
        let navy = shades("#0b1f4d", &DARK);
        assert_eq!((navy.fill, navy.on), (hex("#0b1f4d"), hex("#fff")));
        assert_eq!((navy.text, navy.edge), (hex("#708cc3"), Some(hex("#708cc3"))));
        assert!((navy.on.contrast(navy.fill) - 15.9).abs() < 0.05);
        let orange = shades("#ff5a1f", &LIGHT);
        assert_eq!((orange.on, orange.text), (hex("#000"), hex("#c33d06")));
        assert!((orange.on.contrast(orange.fill) - 6.73).abs() < 0.005);
    }

    #[test]
    fn the_grounds_are_those_of_the_stylesheet() {
        for (name, light, dark) in
            [("bg", LIGHT.page, DARK.page), ("surface-1", LIGHT.one, DARK.one), ("surface-2", LIGHT.two, DARK.two)]
        {
            assert!(PORTAL_CSS.contains(&format!("--op-{name}:var(--L,{light})var(--D,{dark});")), "{name}");
        }
    }

    #[test]
    fn the_stylesheet_has_the_accents_of_the_default_colour() {
        let (light, dark) =
            (Accent::default().shades(&LIGHT).declarations(), Accent::default().shades(&DARK).declarations());
        let tokens = PORTAL_CSS.replace([' ', '\n'], "");
        for (light, dark) in light.split(';').zip(dark.split(';')) {
            let ((name, day), (_, night)) = (light.split_once(':').unwrap(), dark.split_once(':').unwrap());
            let either = if day == night { day.to_owned() } else { format!("var(--L,{day})var(--D,{night})") };
            assert!(tokens.contains(&format!("{name}:{either};")), "{name}:{either};");
        }
    }

    #[test]
    fn a_chosen_theme_wins_over_the_systems() {
        let css = Accent::default().css();
        let dark = Accent::default().shades(&DARK).declarations();
        assert_eq!(css.matches(&dark).count(), 2);
        assert!(css.starts_with(".op{--op-accent:#4f46e5;"));
        assert!(css.contains("html.op:not([data-theme=light])") && css.contains("html.op[data-theme=dark]"));
    }

    fn hex(text: &str) -> Rgb {
        Accent::parse(text).unwrap().0
    }
}
