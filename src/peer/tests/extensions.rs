// SPDX-License-Identifier: MPL-2.0
//! Header extensions that a stream brings along, in the one-byte and the two-byte form (RFC 8285).

use super::*;

const DESCRIPTOR: u8 = 5;
const ORIENTATION: u8 = 6;

/// A call of one video stream with these extensions more.
async fn call(more: &[(u8, HeaderExtension)]) -> (Call, String) {
    let end = |direction| {
        let mut lines = lines(direction);
        lines[0].extensions.extend(more);
        End::with(lines)
    };
    let mut call = Call {
        sender: end(Direction::SendOnly),
        receiver: end(Direction::RecvOnly),
        ufrags: Default::default(),
    };
    let offer = call.sender.offer().await;
    let answer = call.receiver.answer(offer.clone()).await;
    call.sender.peer.set_send_codec(0, vp8());
    call.sender.peer.set_send_codec(1, opus());
    call.sender.set_answer(answer.clone()).await;
    call.sender.connected().await;
    (call, offer + &answer)
}

/// A frame whose packets bring these values along.
fn frame_with(first: u32, values: &[(HeaderExtension, Bytes)]) -> OutboundFrame {
    let whole = frame(first, 3, 100);
    let packets = whole.packets.iter().map(|packet| OutboundPacket {
        extensions: values.to_vec(),
        ..packet.clone()
    });
    OutboundFrame {
        key: true,
        packets: packets.collect(),
    }
}

fn profile(packet: &InboundPacket) -> u16 {
    u16::from_be_bytes(packet.header[12..14].try_into().unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dependency_descriptor_arrives_as_it_was_and_only_a_long_one_takes_the_two_byte_form() {
    use HeaderExtension::{DependencyDescriptor, VideoOrientation};
    let (call, texts) = call(&[
        (DESCRIPTOR, DependencyDescriptor),
        (ORIENTATION, VideoOrientation),
    ])
    .await;
    let (video, audio): (Vec<_>, Vec<_>) = texts
        .split("m=")
        .filter(|part| !part.starts_with("v="))
        .partition(|part| part.starts_with("video"));
    assert!(
        video
            .iter()
            .all(|part| part.contains("a=extmap-allow-mixed\r\n"))
    );
    assert!(!audio.iter().any(|part| part.contains("extmap-allow-mixed")));

    let turned = Bytes::from_static(&[1]);
    let descriptors: Vec<Bytes> = [40, 3, 16, 17, 255, 1]
        .map(|length| (0..length).collect())
        .into();
    let receiving = tokio::spawn(read(call.receiver.peer.inbound(0).unwrap(), 18));
    for (first, descriptor) in (0..).step_by(3).zip(&descriptors) {
        let values = [
            (DependencyDescriptor, descriptor.clone()),
            (VideoOrientation, turned.clone()),
        ];
        assert!(call.sender.peer.push_frame(0, frame_with(first, &values)));
    }
    let packets = receiving.await.unwrap();
    assert_eq!(packets.len(), 18);
    for (frame, sent) in packets.chunks(3).zip(&descriptors) {
        for packet in frame {
            assert_eq!(packet.extension(DESCRIPTOR), Some(&sent[..]));
            assert_eq!(packet.extension(ORIENTATION), Some(&[1][..]));
            assert_eq!(packet.extension(3).map(<[u8]>::len), Some(2));
            let form = if sent.len() > 16 { 0x1000 } else { 0xbede };
            assert_eq!(profile(packet), form, "{} bytes", sent.len());
        }
    }
    call.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_mixed_forms_what_does_not_fit_stays_behind() {
    use HeaderExtension::{DependencyDescriptor, VideoOrientation};
    let (call, texts) = call(&[(ORIENTATION, VideoOrientation)]).await;
    assert!(!texts.contains("extmap-allow-mixed"));
    let receiving = tokio::spawn(read(call.receiver.peer.inbound(0).unwrap(), 9));
    for (first, length) in [(0, 0), (3, 17), (6, 1)] {
        let values = [
            (DependencyDescriptor, Bytes::from_static(&[7; 30])),
            (VideoOrientation, (0..length).collect()),
        ];
        assert!(call.sender.peer.push_frame(0, frame_with(first, &values)));
    }
    let packets = receiving.await.unwrap();
    assert_eq!(packets.len(), 9);
    for (at, packet) in packets.iter().enumerate() {
        let value = packet.extension(ORIENTATION);
        assert_eq!(value.is_some(), at >= 6, "packet {at}");
        assert_eq!(packet.extension(DESCRIPTOR), None);
        assert_eq!(
            (packet.extension(3).map(<[u8]>::len), profile(packet)),
            (Some(2), 0xbede)
        );
        assert_eq!(packet.payload.len(), 100);
    }
    call.close().await;
}
