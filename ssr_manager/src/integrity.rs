//! Checksums over what no activation has open: made at the end of each call, verified before use.

use crate::server::SUMS;
use crate::{BindingId, Manager, PAGE_SIZE, Page, Platform, Region, ServerId};

/// One page that was verified.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verified {
    /// The region.
    pub region: Region,
    /// The page in it.
    pub page: usize,
    /// Whether it has its checksum. If not, a session is now lost; for a common region the kernel decides.
    pub intact: bool,
}

impl<const S: usize, const B: usize, const U: usize, const R: usize> Manager<S, B, U, R> {
    /// Verifies the next page of a server with checksums: its common region, then its sessions. `after` is what was
    /// verified before. `None` at the end, while an activation runs, and for servers without checksums.
    pub fn verify_next(&mut self, server: ServerId, after: Option<Verified>, os: &impl Platform) -> Option<Verified> {
        let state = &self.servers[server.index()];
        let common = usize::from(state.config.common_pages);
        if state.active || !state.config.integrity {
            return None;
        }
        let (mut region, mut page) = after.map_or((Region::Common(server), 0), |last| (last.region, last.page + 1));
        let (pages, session) = match region {
            Region::Common(_) => (common, None),
            Region::Ssr(b) => (self.sealed_pages(server, b), Some(b)),
        };
        if page >= pages {
            (region, page) = (Region::Ssr(self.next_session(server, session)?), 0);
        }
        let intact = self.verify(region, page, os);
        Some(Verified { region, page, intact })
    }

    fn sealed_pages(&self, server: ServerId, b: BindingId) -> usize {
        let binding = &self.bindings[b.index()];
        if binding.server == Some(server) && binding.in_session() { binding.bound.into() } else { 0 }
    }

    /// Where the checksum of a page is kept. `None` for a small SSR, which keeps it in its binding, and for a page
    /// that has no frame for it.
    fn sum_place(&self, region: Region, page: usize) -> Option<(Page, usize)> {
        let frame = match region {
            Region::Ssr(b) => self.bindings[b.index()].sums,
            Region::Common(server) => self.servers[server.index()].sums[page / SUMS],
        };
        (frame != Page::NONE).then_some((frame, page % SUMS * 2))
    }

    /// The binding of a small SSR.
    fn small(&self, region: Region) -> Option<BindingId> {
        let Region::Ssr(b) = region else { return None };
        (self.bindings[b.index()].pages == 1).then_some(b)
    }

    /// Whether the region's server has checksums.
    #[inline]
    fn has_sums(&self, region: Region) -> bool {
        match region {
            Region::Ssr(b) => self.bindings[b.index()].integrity,
            Region::Common(server) => self.servers[server.index()].config.integrity,
        }
    }

    /// Makes the checksum of a page that has just been closed.
    #[inline]
    pub(crate) fn seal(&mut self, region: Region, page: usize, os: &mut impl Platform) {
        if self.has_sums(region) {
            self.make_sum(region, page, os);
        }
    }

    fn make_sum(&mut self, region: Region, page: usize, os: &mut impl Platform) {
        if let Some(b) = self.small(region) {
            let binding = &mut self.bindings[b.index()];
            binding.sum = os.checksum(Page(binding.ssr), binding.used as usize);
        } else if let Some((frame, index)) = self.sum_place(region, page) {
            let sum = os.checksum(os.page(region, page), PAGE_SIZE);
            os.set_word(frame, index, sum as u32);
            os.set_word(frame, index + 1, (sum >> 32) as u32);
        }
    }

    /// Whether a closed page has its checksum; true where the server has none. An SSR that is damaged is lost.
    #[inline]
    pub(crate) fn verify(&mut self, region: Region, page: usize, os: &impl Platform) -> bool {
        let intact = !self.has_sums(region) || self.has_sum(region, page, os);
        if let (Region::Ssr(b), false) = (region, intact) {
            self.lose(b);
        }
        intact
    }

    fn has_sum(&self, region: Region, page: usize, os: &impl Platform) -> bool {
        if let Some(b) = self.small(region) {
            let binding = &self.bindings[b.index()];
            return binding.sum == os.checksum(Page(binding.ssr), binding.used as usize);
        }
        self.sum_place(region, page).is_none_or(|(frame, index)| {
            let sum = u64::from(os.word(frame, index + 1)) << 32 | u64::from(os.word(frame, index));
            sum == os.checksum(os.page(region, page), PAGE_SIZE)
        })
    }
}
