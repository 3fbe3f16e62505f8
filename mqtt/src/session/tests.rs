#![allow(clippy::unwrap_used)]

use super::*;
use proptest::prelude::*;

fn publish(session: &mut Session<u32>, message: u32) -> Packet {
    let mut out = BytesMut::new();
    let sent = session.publish("t", Bytes::from_static(b"x"), message, &mut out);
    assert_eq!(sent.unwrap(), None);
    Packet::read(&mut out, 1000).unwrap()
}

fn id(packet: &Packet) -> u16 {
    match packet {
        Packet::Publish(publish) => publish.pkid,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_message_of_quality_1_is_in_flight_until_its_puback() {
    let mut session = Session::new(Qos::AtLeastOnce);
    let (first, second) = (publish(&mut session, 1), publish(&mut session, 2));
    assert_eq!((id(&first), id(&second)), (1, 2));
    let mut out = BytesMut::new();
    let events = session.receive(&[0x40, 2, 0, 2], &mut out).unwrap();
    assert_eq!(events, [Event::Acknowledged(2)]);
    assert!(session.in_flight().eq([&1]) && out.is_empty());
}

#[test]
fn a_message_of_quality_2_is_released_and_ends_with_pubcomp() {
    let mut session = Session::new(Qos::ExactlyOnce);
    publish(&mut session, 7);
    let mut out = BytesMut::new();
    assert_eq!(session.receive(&[0x50, 2, 0, 1], &mut out).unwrap(), []);
    assert_eq!(out[..], [0x62, 2, 0, 1]);
    // A PUBACK does not complete it.
    assert_eq!(session.receive(&[0x40, 2, 0, 1], &mut out).unwrap(), []);
    let events = session.receive(&[0x70, 2, 0, 1], &mut out).unwrap();
    assert_eq!(events, [Event::Acknowledged(7)]);
}

#[test]
fn a_message_of_quality_0_is_complete_at_once() {
    let mut session = Session::new(Qos::AtMostOnce);
    let mut out = BytesMut::new();
    let sent = session.publish("t", Bytes::new(), 7, &mut out).unwrap();
    assert_eq!(sent, Some(7));
    assert_eq!(session.in_flight().len(), 0);
}

#[test]
fn a_refusal_has_its_code_and_reason() {
    let mut session = Session::<u32>::new(Qos::AtLeastOnce);
    let mut out = BytesMut::new();
    let events = session.receive(&[0x20, 2, 0, 5], &mut out).unwrap();
    let [Event::Refused(refusal)] = events[..] else {
        panic!("{events:?}")
    };
    assert_eq!(
        refusal.to_string(),
        "the broker refused the connection: not authorized (return code 5)"
    );
}

#[test]
fn packets_that_no_publisher_expects_are_errors() {
    let receive = |bytes: &[u8]| {
        let mut session = Session::<u32>::new(Qos::AtLeastOnce);
        session
            .receive(bytes, &mut BytesMut::new())
            .unwrap_err()
            .to_string()
    };
    assert!(receive(&[0x30, 5, 0, 1, b't', b'h', b'i']).contains("Publish"));
    assert!(receive(&[0xc0, 0]).contains("PingReq"));
    // A length of 256 MB is rejected before it is buffered.
    let large = receive(&[0x30, 0xff, 0xff, 0xff, 0x7f]);
    assert!(large.to_lowercase().contains("size"), "{large}");
    assert!(receive(&[0xf0, 0]).contains("invalid"));
}

#[test]
fn packet_ids_in_use_are_skipped() {
    let mut session = Session::new(Qos::AtLeastOnce);
    publish(&mut session, 0);
    session.last_id = u16::MAX;
    assert_eq!(id(&publish(&mut session, 1)), 2);
}

proptest! {
    #[test]
    fn any_bytes_in_any_portions_are_processed_without_a_panic(portions in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 0..20)) {
        let mut session = Session::new(Qos::ExactlyOnce);
        let mut out = BytesMut::new();
        session.publish("t", Bytes::new(), 1, &mut out).unwrap();
        for portion in portions {
            if session.receive(&portion, &mut out).is_err() {
                break;
            }
            prop_assert!(session.incoming.len() <= MAX_INCOMING + 40);
        }
    }

    #[test]
    fn acknowledgements_in_any_order_and_portions_complete_every_message(
        order in Just((1u16..=50).collect::<Vec<_>>()).prop_shuffle(), size in 1usize..30)
    {
        let mut session = Session::new(Qos::AtLeastOnce);
        for message in 1..=50 {
            publish(&mut session, message);
        }
        let bytes: Vec<u8> = order.iter().flat_map(|id| [0x40, 2, 0, *id as u8]).collect();
        let mut acknowledged = Vec::new();
        for portion in bytes.chunks(size) {
            for event in session.receive(portion, &mut BytesMut::new()).unwrap() {
                if let Event::Acknowledged(message) = event {
                    acknowledged.push(message as u16);
                }
            }
        }
        prop_assert_eq!(acknowledged, order);
        prop_assert_eq!(session.in_flight().len(), 0);
    }
}
