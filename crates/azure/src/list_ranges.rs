//! Page lists and differences (REST: Get Page Ranges), parsed while they arrive.
//!
//! The SDK has no difference, and its page list would be parsed after the fact by a reader that loses the order of writes
//! and clears. A body that stops early is a broken connection, never a short list; a list that makes no sense is an
//! integrity failure.

use azure_core::http::Request;
use azure_core::http::headers::Headers;
use pageferry_core::page_list::{PageListError, PageListReader};
use pageferry_core::{Kind, PageRange};
use pageferry_store::{Answer, Ask};
use secrecy::{ExposeSecret, SecretString};

use crate::fault::{Fault, Outcome};
use crate::properties::size;
use crate::wire::{Success, Wire};

impl Wire {
    /// One page of the answer to `ask`; `since_url` names the earlier snapshot of a managed disk.
    pub(crate) async fn list_once(&self, ask: &Ask, since_url: Option<&SecretString>) -> Result<Answer, Fault> {
        let request = self.list_request(ask, since_url);
        let Success { headers, mut body, .. } = self.send(request).await?;
        let size = size(&headers, "x-ms-blob-content-length")?;
        let mut reader = PageListReader::new();
        let mut changes = Vec::new();
        while let Some(piece) = self.next(&mut body).await? {
            reader.feed(&piece, &mut changes).map_err(|error| fault(&headers, &error))?;
        }
        let next = reader.finish().map_err(|error| fault(&headers, &error))?;
        if next.is_some() && next == ask.marker {
            return Err(Fault::in_answer(Outcome::Wrong, &headers, "the page list goes on where it began"));
        }
        if ask.since.is_none()
            && since_url.is_none()
            && let Some(clear) = changes.iter().find(|change| change.kind == Kind::Clear)
        {
            let cause = format!("a plain page list reports {} as cleared", clear.range);
            return Err(Fault::in_answer(Outcome::Wrong, &headers, cause));
        }
        let window = PageRange::whole(size).and_then(|whole| whole.intersection(ask.window));
        changes.retain_mut(|change| match window.and_then(|window| change.clipped(window)) {
            Some(clipped) => {
                *change = clipped;
                true
            }
            None => false,
        });
        Ok(Answer { changes, next, size })
    }

    fn list_request(&self, ask: &Ask, since_url: Option<&SecretString>) -> Request {
        let ranges = self.options.ranges_per_page.to_string();
        let mut query = vec![("comp", "pagelist")];
        query.extend(self.snapshot_of(&ask.view).map(|id| ("snapshot", id.as_str())));
        query.extend(ask.since.as_ref().map(|id| ("prevsnapshot", id.as_str())));
        query.extend(ask.marker.as_deref().map(|marker| ("marker", marker)));
        query.push(("maxresults", &ranges));
        let mut request = self.get(self.address.url().clone(), &query);
        let (first, last) = ask.window.inclusive_bytes();
        request.insert_header("x-ms-range", format!("bytes={first}-{last}"));
        if let Some(url) = since_url {
            request.insert_header("x-ms-previous-snapshot-url", url.expose_secret().to_owned());
        }
        if let Some(tag) = ask.if_match.as_ref().filter(|_| !self.address.is_managed_disk()) {
            request.insert_header("if-match", tag.quoted());
        }
        request
    }
}

fn fault(headers: &Headers, error: &PageListError) -> Fault {
    let outcome = match error {
        PageListError::Truncated(_) => Outcome::Broken,
        PageListError::BadRange(..) => Outcome::Wrong,
        _ => Outcome::Corrupt,
    };
    Fault::in_answer(outcome, headers, error.to_string())
}
