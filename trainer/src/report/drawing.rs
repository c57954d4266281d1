//! Embeds a drawing in a page. It uses the page's colours (light or dark) and the width of its
//! place, and its title is its accessible name.

use std::fmt::Write as _;

use crate::plot::COLOURS;

/// Adapts a plot for a page and gives its title the identifier `id`.
pub(super) fn inline(svg: &str, id: &str) -> String {
    let mut page = String::with_capacity(svg.len() + svg.len() / 4);
    let mut is_named = false;
    for (index, part) in svg.trim_end().split('<').enumerate() {
        if index == 0 {
            continue;
        }
        // Text and attributes contain no bare `<`. The text follows the end of the tag.
        let (tag, text) = part.split_once('>').unwrap_or((part, ""));
        page.push('<');
        match tag {
            tag if tag.starts_with("svg ") => root(&mut page, tag, id),
            "title" if !is_named => {
                is_named = true;
                let _ = write!(page, "title id=\"{id}\"");
            }
            tag => coloured(&mut page, tag),
        }
        page.push('>');
        page.push_str(text);
    }
    page
}

/// Writes the tag of the root without width and height.
fn root(page: &mut String, tag: &str, id: &str) {
    let mut rest = tag;
    while let Some((attribute, more)) = next_attribute(rest) {
        if !attribute.trim_start().starts_with("width=") && !attribute.trim_start().starts_with("height=") {
            page.push_str(attribute);
        }
        rest = more;
    }
    let _ = write!(page, " aria-labelledby=\"{id}\"");
}

/// Splits a tag after its first attribute, whose value is in double quotes.
fn next_attribute(rest: &str) -> Option<(&str, &str)> {
    let open = rest.find('"')?;
    let close = open + 1 + rest.get(open + 1..)?.find('"')?;
    Some((rest.get(..=close)?, rest.get(close + 1..)?))
}

/// Writes a tag. Its colours become variables of the page, with the plot's colours as defaults.
fn coloured(page: &mut String, tag: &str) {
    let mut tag = tag.to_owned();
    for (colour, name) in COLOURS {
        let own = format!("=\"{colour}\"");
        if tag.contains(&own) {
            tag = tag.replace(&own, &format!("=\"var(--{name},{colour})\""));
        }
    }
    page.push_str(&tag);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_are_the_pages_and_text_is_left_alone() {
        let svg = "<svg font-size=\"1\" height=\"7\" role=\"img\" viewBox=\"0 0 960 7\" width=\"960\">\n<title>\nfill=\"#222222\" &lt;b&gt;</title>\n\
                   <rect width=\"3\" fill=\"#ffffff\"/>\n<text stroke=\"#222222\">\n=\"#222222\"\n<title>whole</title></text></svg>\n";
        assert_eq!(
            inline(svg, "p1"),
            "<svg font-size=\"1\" role=\"img\" viewBox=\"0 0 960 7\" aria-labelledby=\"p1\">\n<title id=\"p1\">\nfill=\"#222222\" &lt;b&gt;</title>\n\
             <rect width=\"3\" fill=\"var(--paper,#ffffff)\"/>\n<text stroke=\"var(--ink,#222222)\">\n=\"#222222\"\n<title>whole</title></text></svg>"
        );
    }
}
