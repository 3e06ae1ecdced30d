//! An XML answer as a tree of names and texts.
//!
//! Attributes, namespaces, comments and the relative order of differently named elements are dropped, because they
//! carry no meaning in AWS's answers. A document type is refused, and with it every entity except XML's own five.

use quick_xml::Reader;
use quick_xml::escape::resolve_predefined_entity;
use quick_xml::events::{BytesRef, Event};

/// How deep an answer may be nested. EC2's deepest answers have seven levels.
const DEPTH_LIMIT: usize = 64;

/// How many elements an answer may have. A page of 1000 volumes with 50 tags each has about 200 000.
const ELEMENT_LIMIT: usize = 500_000;

/// An element: its name without a prefix, and its content.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Element {
    pub name: String,
    /// Empty if there are children.
    pub text: String,
    children: Vec<Element>,
}

impl Element {
    /// # Errors
    ///
    /// A short description of what is wrong, without any of the content.
    pub fn parse(body: &[u8]) -> Result<Self, &'static str> {
        const NOT_XML: &str = "the response is not XML";
        let text = std::str::from_utf8(body).map_err(|_| NOT_XML)?;
        let mut reader = Reader::from_str(text.trim_start_matches('\u{feff}'));
        let mut tree = Tree::default();
        loop {
            match reader.read_event().map_err(|_| NOT_XML)? {
                Event::Start(tag) => tree.open(tag.local_name().as_ref())?,
                Event::Empty(tag) => {
                    tree.open(tag.local_name().as_ref())?;
                    tree.close();
                }
                Event::End(_) => tree.close(),
                Event::Text(text) => tree.text(&text.xml10_content())?,
                Event::CData(text) => tree.text(&text.into_inner())?,
                Event::GeneralRef(reference) => tree.text(&resolved(&reference).ok_or("the response has an unknown entity")?)?,
                Event::DocType(_) => return Err("the response has a document type"),
                Event::Comment(_) | Event::Decl(_) | Event::PI(_) => {}
                Event::Eof => break,
            }
        }
        if !tree.open.is_empty() {
            return Err("the response is cut off");
        }
        tree.root.ok_or(NOT_XML)
    }

    /// The first child with this name.
    pub fn child(&self, name: &str) -> Option<&Self> {
        self.children.iter().find(|child| child.name == name)
    }

    /// The text of a child. `None` if there is no such child, or if it is empty.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.child(name).map(|child| child.text.as_str()).filter(|text| !text.is_empty())
    }

    /// The text of a child, parsed as a number or boolean.
    pub fn parsed<T: std::str::FromStr>(&self, name: &str) -> Option<T> {
        self.text(name)?.trim().parse().ok()
    }

    /// The elements of a list, whatever their name is: `item`, `member`, `DBInstance`. Empty if there is no such list.
    pub fn items(&self, list: &str) -> impl Iterator<Item = &Self> {
        self.child(list).into_iter().flat_map(|list| &list.children)
    }
}

/// A tree that is being read.
#[derive(Default)]
struct Tree {
    open: Vec<Element>,
    root: Option<Element>,
    elements: usize,
}

impl Tree {
    fn open(&mut self, name: &str) -> Result<(), &'static str> {
        self.elements += 1;
        if self.open.len() == DEPTH_LIMIT || self.elements > ELEMENT_LIMIT {
            return Err("the response has too many elements");
        }
        if self.root.is_some() {
            return Err("the response continues after its end");
        }
        self.open.push(Element { name: name.to_owned(), ..Element::default() });
        Ok(())
    }

    fn close(&mut self) {
        // The reader has already refused an end tag without a start tag.
        let Some(mut done) = self.open.pop() else { return };
        if !done.children.is_empty() {
            done.text = String::new();
        }
        match self.open.last_mut() {
            Some(parent) => parent.children.push(done),
            None => self.root = Some(done),
        }
    }

    fn text(&mut self, text: &str) -> Result<(), &'static str> {
        match self.open.last_mut() {
            Some(element) => element.text.push_str(text),
            None if text.trim().is_empty() => {}
            None => return Err("the response is not XML"),
        }
        Ok(())
    }
}

fn resolved(reference: &BytesRef) -> Option<String> {
    match reference.resolve_char_ref().ok()? {
        Some(character) => Some(character.into()),
        None => resolve_predefined_entity(&reference.xml10_content()).map(str::to_owned),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Element, &'static str> {
        Element::parse(text.as_bytes())
    }

    #[test]
    fn reads_names_texts_and_lists() {
        let answer = "\u{feff}<?xml version=\"1.0\" encoding=\"UTF-8\"?>
            <!-- from EC2 -->
            <e:R xmlns:e=\"http://ec2.amazonaws.com/doc/2016-11-15/\">
              <id>vol-1</id><e:size> 8 </e:size><snapshotId/><no></no>
              <tagSet><item><key>a&amp;b</key><value><![CDATA[<x> &amp; ]]>&#x41;&#66;</value></item><item><key>c</key></item></tagSet>
            </e:R>\n";
        let root = parse(answer).unwrap();
        assert_eq!((root.name.as_str(), root.text("id"), root.parsed("size")), ("R", Some("vol-1"), Some(8)));
        assert_eq!((root.text("snapshotId"), root.text("no"), root.text("missing"), root.text("tagSet")), (None, None, None, None));
        let tags: Vec<_> = root.items("tagSet").map(|item| (item.text("key"), item.text("value"))).collect();
        assert_eq!(tags, [(Some("a&b"), Some("<x> &amp; AB")), (Some("c"), None)]);
        assert_eq!(root.items("volumeSet").count(), 0);
    }

    #[test]
    fn keeps_the_spaces_of_a_value() {
        assert_eq!(parse("<a><v> x\n y </v></a>").unwrap().text("v"), Some(" x\n y "));
    }

    #[test]
    fn refuses_what_is_no_answer() {
        let deep = "<a>".repeat(100) + &"</a>".repeat(100);
        let wide = format!("<r>{}</r>", "<a/>".repeat(ELEMENT_LIMIT));
        let table = [
            ("", "the response is not XML"),
            ("{\"a\": 1}", "the response is not XML"),
            ("<a><b></a>", "the response is not XML"),
            ("<a>1 & 2</a>", "the response is not XML"),
            ("<a><b>1</b>", "the response is cut off"),
            ("<a/><b/>", "the response continues after its end"),
            ("<a/>tail", "the response is not XML"),
            ("<a>&nbsp;</a>", "the response has an unknown entity"),
            ("<!DOCTYPE a [<!ENTITY b \"c\">]><a>&b;</a>", "the response has a document type"),
            (&deep, "the response has too many elements"),
            (&wide, "the response has too many elements"),
        ];
        for (text, why) in table {
            assert_eq!(parse(text), Err(why), "{}", &text[..text.len().min(40)]);
        }
        assert!(Element::parse(b"<a>\xff</a>").is_err());
    }
}
