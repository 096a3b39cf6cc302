// SPDX-License-Identifier: MPL-2.0
//! One end of a call with one reliable ordered data channel, by webrtc-rs's own driver, in the shape of its example of
//! flow control: `data-example send|receive FOLDER COUNT SIZE [limit]`.
//!
//! The sender offers, and stops while more than 1 MiB waits in webrtc-rs until half of that is gone; with `limit` it
//! leaves that to the library's send-buffer limit. Descriptions are files in FOLDER, as with `signaller=file` of the
//! elements. The receiver says `open`, and `end MESSAGES BYTES` when COUNT messages have come.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use futures::FutureExt;
use webrtc::data_channel::{DataChannel, DataChannelEvent, RTCDataChannelInit};
use webrtc::peer_connection::{
    MediaEngine, PeerConnection, PeerConnectionBuilder, PeerConnectionEventHandler,
    RTCConfigurationBuilder, RTCIceGatheringState, RTCSessionDescription, Registry,
    register_default_interceptors,
};
use webrtc::runtime::{Sender, channel, default_runtime};

type Failure = Box<dyn std::error::Error + Send + Sync>;

/// Bytes that may wait in webrtc-rs, as in its example.
const HIGH: u32 = 1 << 20;
const LOW: u32 = 1 << 19;

struct Asked {
    sends: bool,
    folder: PathBuf,
    count: usize,
    size: usize,
    limit: bool,
}

fn asked() -> Option<Asked> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let [role, folder, count, size, more @ ..] = &words[..] else {
        return None;
    };
    Some(Asked {
        sends: role == "send",
        folder: folder.into(),
        count: count.parse().ok()?,
        size: size.parse().ok()?,
        limit: more.iter().any(|word| word == "limit"),
    })
}

struct Handler {
    gathered: Sender<()>,
    over: Sender<()>,
    count: usize,
}

#[async_trait::async_trait]
impl PeerConnectionEventHandler for Handler {
    async fn on_ice_gathering_state_change(&self, state: RTCIceGatheringState) {
        if state == RTCIceGatheringState::Complete {
            let _ = self.gathered.try_send(());
        }
    }

    async fn on_data_channel(&self, channel: Arc<dyn DataChannel>) {
        let (over, count) = (self.over.clone(), self.count);
        // The driver waits until this returns.
        tokio::spawn(async move {
            let (mut messages, mut bytes) = (0, 0);
            println!("open");
            while let Some(event) = channel.poll().await {
                match event {
                    DataChannelEvent::OnMessage(message) => {
                        messages += 1;
                        bytes += message.data.len();
                        if messages == count {
                            break;
                        }
                    }
                    DataChannelEvent::OnClose => break,
                    _ => {}
                }
            }
            println!("end {messages} {bytes}");
            let _ = over.try_send(());
        });
    }
}

/// As the example does: events and messages in one task.
async fn send(channel: Arc<dyn DataChannel>, asked: &Asked) -> Result<(), Failure> {
    let message = BytesMut::from(&vec![0; asked.size][..]);
    while !matches!(channel.poll().await, Some(DataChannelEvent::OnOpen)) {}
    let (mut sent, mut paused) = (0, false);
    while sent < asked.count {
        if asked.limit {
            channel.send(message.clone()).await?;
            sent += 1;
            continue;
        }
        let event = match paused {
            true => channel.poll().await,
            false => futures::select! {
                event = channel.poll().fuse() => event,
                done = channel.send(message.clone()).fuse() => {
                    sent += usize::from(done.is_ok());
                    continue;
                }
            },
        };
        match event {
            Some(DataChannelEvent::OnBufferedAmountHigh) => paused = true,
            Some(DataChannelEvent::OnBufferedAmountLow) => paused = false,
            Some(DataChannelEvent::OnClose) | None => return Err("the channel was closed".into()),
            _ => {}
        }
    }
    Ok(())
}

async fn read(asked: &Asked, kind: &str) -> Result<RTCSessionDescription, Failure> {
    let path = asked.folder.join(format!("{kind}.json"));
    loop {
        if let Ok(text) = std::fs::read_to_string(&path) {
            return Ok(serde_json::from_str(&text)?);
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

fn write(
    asked: &Asked,
    kind: &str,
    description: Option<RTCSessionDescription>,
) -> Result<(), Failure> {
    let text = serde_json::to_string(&description.ok_or("there is no local description")?)?;
    let part = asked.folder.join(format!(".{kind}"));
    std::fs::write(&part, text)?;
    Ok(std::fs::rename(
        part,
        asked.folder.join(format!("{kind}.json")),
    )?)
}

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let Some(asked) = asked() else {
        return Err("data-example send|receive FOLDER COUNT SIZE [limit]".into());
    };
    let mut media = MediaEngine::default();
    media.register_default_codecs()?;
    let registry = register_default_interceptors(Registry::new(), &mut media)?;
    let ((gathered, mut has_gathered), (over, mut is_over)) = (channel(1), channel(1));
    let handler = Handler {
        gathered,
        over,
        count: asked.count,
    };
    let mut builder = PeerConnectionBuilder::new()
        .with_configuration(RTCConfigurationBuilder::new().build())
        .with_media_engine(media)
        .with_interceptor_registry(registry)
        .with_handler(Arc::new(handler))
        .with_runtime(default_runtime().ok_or("no runtime")?)
        .with_udp_addrs(vec!["127.0.0.1:0".to_owned()]);
    if asked.limit {
        builder = builder.with_data_channel_send_buffer_limit(HIGH as usize);
    }
    let peer = builder.build().await?;
    if asked.sends {
        let channel = peer
            .create_data_channel("data", Some(RTCDataChannelInit::default()))
            .await?;
        channel.set_buffered_amount_low_threshold(LOW).await?;
        channel.set_buffered_amount_high_threshold(HIGH).await?;
        let offer = peer.create_offer(None).await?;
        peer.set_local_description(offer).await?;
        has_gathered.recv().await;
        write(&asked, "offer", peer.local_description().await)?;
        peer.set_remote_description(read(&asked, "answer").await?)
            .await?;
        send(channel, &asked).await?;
        // Whoever started both ends this one once everything came.
        std::future::pending::<()>().await;
    } else {
        peer.set_remote_description(read(&asked, "offer").await?)
            .await?;
        let answer = peer.create_answer(None).await?;
        peer.set_local_description(answer).await?;
        has_gathered.recv().await;
        write(&asked, "answer", peer.local_description().await)?;
        is_over.recv().await;
    }
    Ok(peer.close().await?)
}
