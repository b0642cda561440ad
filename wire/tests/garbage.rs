//! Every decoder, given any bytes, answers; and what it accepts it writes back unchanged.

use bytes::Bytes;
use proptest::prelude::{any, proptest};
use proptest::test_runner::Config;
use refrain_wire::batch::{decode_batch, put_batch};
use refrain_wire::entry::{Draft, GroupRecords};
use refrain_wire::record::{check_records, records};
use refrain_wire::{EffectEntry, Entry, GroupId, Position, Record, RecordWriter, Serial, SubmissionId, Time, Vote};

/// The body that the fuzzer and the stable test share: no decoder panics on `bytes`.
fn decode_everything(bytes: &Bytes) {
    let _ = decode_batch(bytes);
    let _ = Entry::decode(Position(1), bytes);
    let _ = Vote::decode(bytes);
    let _ = EffectEntry::decode(bytes);
    if check_records(bytes).is_ok() {
        let mut writer = RecordWriter::default();
        for record in records(bytes) {
            writer.push(&record.expect("checked"));
        }
        assert!(check_records(&writer.take()).is_ok());
    }
}

proptest! {
    #![proptest_config(Config { cases: 2000, failure_persistence: None, ..Config::default() })]

    #[test]
    fn random_bytes_are_answered(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        decode_everything(&Bytes::from(bytes));
    }

    #[test]
    fn one_flipped_bit_in_a_batch_or_entry_is_noticed(payload in proptest::collection::vec(any::<u8>(), 0..64), flip in any::<usize>()) {
        let mut batch = Vec::new();
        put_batch(&mut batch, GroupId(1), Position(1), Time::from_micros(9), &payload);
        let whole = Bytes::from(batch.clone());
        let bit = flip % (batch.len() * 8);
        batch[bit / 8] ^= 1 << (bit % 8);
        assert_ne!(decode_batch(&Bytes::from(batch)), decode_batch(&whole));
    }

    #[test]
    fn truncated_records_are_refused(text in "[a-z]{1,40}", cut in any::<usize>()) {
        let mut writer = RecordWriter::default();
        writer.data(Serial(1), 7, text.as_bytes());
        writer.push(&Record::Shutdown(Serial(1)));
        let whole = writer.take();
        let last = whole.len() - 8;
        let cut = 1 + cut % (whole.len() - 1);
        assert_eq!(check_records(&whole.slice(..cut)).is_ok(), cut == last);
    }

    #[test]
    fn entries_come_back(numbers in proptest::collection::vec(any::<u64>(), 0..5), sizes in proptest::collection::vec(1usize..50, 1..5)) {
        let draft = Draft {
            time: Time::from_micros(5),
            submissions: numbers.iter().map(|n| SubmissionId { epoch: refrain_wire::Epoch(1), number: *n }).collect(),
            batches: sizes.iter().enumerate().map(|(i, n)| GroupRecords { group: GroupId(i as u32), records: Bytes::from(vec![0; *n]) }).collect(),
        };
        let entry = Entry::decode(Position(8), &draft.encode(Position(8))).expect("own bytes decode");
        assert_eq!(entry.submissions, draft.submissions);
        assert_eq!(entry.batches.len(), draft.batches.len());
    }
}

#[test]
fn lengths_are_refused_one_above_the_limit() {
    let mut header = vec![3, 0, 0, 0, 0, 0, 0, 0];
    header[1..4].copy_from_slice(&((256 * 1024 + 11) as u32).to_le_bytes()[..3]);
    header.resize(8 + 256 * 1024 + 11, 0);
    let error = check_records(&Bytes::from(header)).unwrap_err();
    assert_eq!(error.to_string(), "record length is 262155, the limit is 262154");

    let mut writer = RecordWriter::default();
    writer.data(Serial(0), 0, &vec![1; 256 * 1024]);
    assert!(check_records(&writer.take()).is_ok(), "at the limit");

    let mut frame = vec![0; 27];
    frame[..4].copy_from_slice(&(1024 * 1024 + 1u32).to_le_bytes());
    let error = decode_batch(&Bytes::from(frame)).unwrap_err();
    assert_eq!(error.to_string(), "batch length is 1048577, the limit is 1048576");
}

#[test]
fn an_effect_of_the_whole_group_has_no_serial() {
    let mut bytes = [0; 37];
    bytes[0] = 9;
    assert!(EffectEntry::decode(&Bytes::copy_from_slice(&bytes)).is_ok());
    bytes[5] = 1;
    let error = EffectEntry::decode(&Bytes::copy_from_slice(&bytes)).unwrap_err();
    assert_eq!(error.to_string(), "effect serial without epoch has the unknown value 1");
}
