// SPDX-License-Identifier: MPL-2.0
//! Data channels of a call: they are the session's, and each connection opens them.

use std::sync::Arc;

use crate::peer::Peer;

use super::actor::Call;
use super::event::Event;

const NOT_OFFERED: &str = "data channels were not agreed at the start, and no offer that has them \
                           can be made now: request the pad before the call begins";

impl Call {
    /// Tells a new peer what is wanted of it.
    pub(super) fn prepare_data(&self, peer: &Arc<dyn Peer>) {
        let channels = {
            let mut channels = self.shared.lock_channels();
            channels.retain(|channel| !channel.is_closed());
            channels.clone()
        };
        peer.want_data(self.offers_data || !channels.is_empty());
        for channel in channels {
            peer.open_channel(channel);
        }
    }

    /// Tells the element which channels opened or closed.
    pub(super) async fn tell_channels(&mut self, peer: &Arc<dyn Peer>) {
        for channel in peer.take_changed_channels() {
            self.tell(Event::Channel(channel)).await;
        }
    }

    /// There is a channel more; if it is the first, data channels are to be offered.
    pub(super) async fn offer_data(&mut self, peer: &Arc<dyn Peer>) {
        peer.want_data(true);
        if !peer.has_data() {
            self.renegotiate(peer).await;
        }
        if self.offering.is_none() && !self.offer_due {
            self.refuse_channels(NOT_OFFERED).await;
        }
    }

    /// Nothing will agree on data channels: those that wait for it are over, or their writers would
    /// wait for good.
    pub(super) async fn refuse_channels(&mut self, why: &str) {
        if self.shared.peer().is_some_and(|peer| peer.has_data()) {
            return;
        }
        let mut refused = Vec::new();
        for channel in self.shared.lock_channels().iter() {
            if channel.closed(why) {
                refused.push(channel.clone());
            }
        }
        for channel in refused {
            self.tell(Event::Channel(channel)).await;
        }
    }
}
