// SPDX-License-Identifier: MPL-2.0
//! `Link` headers that name ICE servers (RFC 8288; RFC 9725 section 4.6), read and written.
