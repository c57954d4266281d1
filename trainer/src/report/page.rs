//! The page around the sections: head, contents and style.

use maud::{DOCTYPE, Markup, PreEscaped, html};

use super::Report;
use super::sections;
use super::what_if::{self, WhatIf};
use crate::text::printable;

/// The page loads nothing, and runs only the script of the form.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'";
const STYLE: &str = include_str!("page.css");

/// A section of the page.
pub(super) struct Section {
    pub id: &'static str,
    pub title: &'static str,
    pub body: Markup,
}

/// Returns the page of a report.
pub(super) fn page(report: &Report) -> String {
    let title = format!("Report on {}", report.options.name);
    document(&title, &sections::front::purpose(report), &sections::all(report), Some(&report.what_if))
}

/// Returns a page with a title, the paragraph below it, its sections, and the form of one of them.
pub(super) fn document(title: &str, purpose: &Markup, sections: &[Section], what_if: Option<&WhatIf>) -> String {
    let markup = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta http-equiv="Content-Security-Policy" content={ (what_if.map_or_else(String::new, WhatIf::policy)) (POLICY) };
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                meta name="generator" content={ "feamoe " (env!("CARGO_PKG_VERSION")) };
                title { (title) }
                style { (PreEscaped(STYLE)) (PreEscaped(what_if::STYLE)) }
            }
            body {
                a.skip href="#content" { "Skip to the content" }
                header { h1 { (title) } (purpose) }
                nav aria-label="Contents" {
                    ol { @for section in sections { li { a href={ "#" (section.id) } { (section.title) } } } }
                }
                main id="content" {
                    @for section in sections {
                        section aria-labelledby=(section.id) {
                            h2 id=(section.id) { (section.title) }
                            (section.body)
                        }
                    }
                }
                footer {
                    p {
                        "Made by feamoe " (env!("CARGO_PKG_VERSION")) ". The page is one file and asks for nothing"
                        @if what_if.is_some() { "; its only script is that of the form under What if" }
                        ". The same model, rows and options give the same bytes."
                    }
                }
                @if let Some(what_if) = what_if { (what_if.script()) }
            }
        }
    };
    printable(&markup.into_string())
}
