//! Scores an Arrow stream. Columns are matched by the features' names, and the answer is one batch
//! of scores.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use arrow_array::{ArrayRef, BooleanArray, Float32Array, RecordBatch, RecordBatchIterator, UInt16Array};
use arrow_buffer::Buffer;
use arrow_ipc::MessageHeader;
use arrow_ipc::reader::StreamDecoder;
use arrow_ipc::writer::StreamWriter;
use arrow_schema::{ArrowError, DataType, Field, Schema, SchemaRef};
use axum::body::Bytes;
use flatbuffers::VerifierOptions;

use super::answer::Answer;
use super::metrics::{Tally, counted};
use super::record::Group;
use super::refusal::Refusal;
use super::work::Work;
use crate::judge::binding::Binding;
use crate::rows::{ArrowRows, Source as _, guarded};

/// The media type of an Arrow stream.
pub const ARROW: &str = "application/vnd.apache.arrow.stream";

/// The name of the stream in messages.
const NAME: &str = "the body";
/// Maximum number of columns of a stream.
const MOST_COLUMNS: usize = 4096;
/// Precedes every message.
const CONTINUATION: [u8; 4] = [0xff; 4];

/// Scores every row of an Arrow stream. Returns the answer and the decisions to count. The answer
/// is an Arrow stream with the probability, the decision, the number of missing, clamped and unseen
/// values, and the score if it differs from the probability.
pub fn score(work: &Work<'_>, body: Bytes) -> Result<(Answer, Tally), Refusal> {
    let Work { ready, columns, limits, wish, .. } = *work;
    check(&body, limits.records).map_err(Refusal::unprocessable)?;
    let (schema, batches) = guarded(|| decode(body)).map_err(Refusal::unprocessable)?;
    check_columns(&schema).map_err(Refusal::unprocessable)?;
    wish.check()?;
    let reader = RecordBatchIterator::new(batches.into_iter().map(Ok), schema);
    let mut rows = ArrowRows::new(NAME, reader, &ready.table).map_err(Refusal::unprocessable)?;
    let binding = Binding::of(ready.model.schema(), |name| rows.column(name, "the model"));
    let binding = binding.map_err(Refusal::unprocessable)?;
    let groups: Vec<Option<usize>> =
        columns.iter().map(|column| rows.columns().iter().position(|found| found == column)).collect();
    rows.want(&[binding.columns(), groups.iter().flatten().copied().collect()].concat());

    let mut record = ready.model.record();
    let mut tally = Tally::default();
    let (mut probability, mut scores, mut decision) = (Vec::new(), Vec::new(), Vec::new());
    let mut noted = [const { Vec::<u16>::new() }; 3];
    while rows.advance().map_err(Refusal::unprocessable)? {
        wish.check()?;
        let row = rows.record();
        binding.fill(&row, &mut record).map_err(Refusal::unprocessable)?;
        let score = ready.model.score(&record).map_err(Refusal::unprocessable)?;
        let groups: Vec<Group> = groups
            .iter()
            .map(|column| {
                let text = column.and_then(|column| row.cell(column).text());
                let name = column.and_then(|column| rows.columns().get(column)).map_or("", String::as_str);
                text.map_or(Group::Missing, |text| ready.names.group_of_text(name, &String::from_utf8_lossy(&text)))
            })
            .collect();
        tally.add(score.decision, record.notes(), groups.iter().map(Group::label));
        probability.push(ready.model.calibrated(&record, &score).map_err(Refusal::internal)?);
        scores.push(score.probability);
        decision.push(score.decision);
        for (column, count) in noted.iter_mut().zip(counted(record.notes())) {
            column.push(count);
        }
    }

    let [missing, clamped, unseen] = noted;
    let apart: Option<(&str, ArrayRef)> =
        ready.model.is_calibrated().then(|| ("score", Arc::new(Float32Array::from(scores)) as ArrayRef));
    let columns: [(&str, ArrayRef); 5] = [
        ("probability", Arc::new(Float32Array::from(probability))),
        ("decision", Arc::new(BooleanArray::from(decision))),
        ("missing", Arc::new(UInt16Array::from(missing))),
        ("clamped", Arc::new(UInt16Array::from(clamped))),
        ("unseen", Arc::new(UInt16Array::from(unseen))),
    ];
    let columns: Vec<(&str, ArrayRef)> = columns.into_iter().chain(apart).collect();
    let fields: Vec<Field> =
        columns.iter().map(|(name, column)| Field::new(*name, DataType::clone(column.data_type()), false)).collect();
    let metadata = HashMap::from([("model".to_owned(), ready.name.clone())]);
    let schema = Arc::new(Schema::new_with_metadata(fields, metadata));
    let batch = RecordBatch::try_new(Arc::clone(&schema), columns.into_iter().map(|(_, column)| column).collect());
    let batch = batch.map_err(Refusal::internal)?;
    let mut answer = work.answer(ARROW);
    answer.write_with(|answer| {
        let mut writer = StreamWriter::try_new(answer, &schema)?;
        writer.write(&batch)?;
        writer.finish()
    })?;
    Ok((answer, tally))
}

/// Checks the messages of a stream before any is decoded. It counts their rows and refuses
/// compressed messages, because their decompressed length is unbounded.
fn check(body: &[u8], most: usize) -> Result<(), String> {
    let damaged = || "found a stream that is cut off or damaged, expected an Arrow IPC stream".to_owned();
    let (mut rest, mut rows) = (body, 0_usize);
    while !rest.is_empty() {
        let mut word = || {
            let (word, after) = rest.split_first_chunk::<4>().ok_or_else(damaged)?;
            rest = after;
            Ok::<_, String>(*word)
        };
        let first = word()?;
        let length = if first == CONTINUATION { word()? } else { first };
        let length = usize::try_from(i32::from_le_bytes(length)).map_err(|_| damaged())?;
        if length == 0 {
            return Ok(());
        }
        let (head, after) = rest.split_at_checked(length).ok_or_else(damaged)?;
        // Parts of a message may share their bytes, so that their total size exceeds that of the
        // message.
        let limits = VerifierOptions { max_apparent_size: body.len(), ..VerifierOptions::default() };
        let message = arrow_ipc::root_as_message_with_opts(&limits, head).map_err(|_| damaged())?;
        if !matches!(
            message.header_type(),
            MessageHeader::Schema | MessageHeader::RecordBatch | MessageHeader::DictionaryBatch
        ) {
            return Err(damaged());
        }
        let batch = message.header_as_record_batch();
        let dictionary = message.header_as_dictionary_batch().and_then(|dictionary| dictionary.data());
        if batch.or(dictionary).is_some_and(|batch| batch.compression().is_some()) {
            return Err("found a compressed stream, expected one without compression".into());
        }
        if let Some(batch) = batch {
            rows =
                usize::try_from(batch.length()).ok().and_then(|length| rows.checked_add(length)).ok_or_else(damaged)?;
        }
        if rows > most {
            return Err(format!("found more than {most} records, expected at most {most} a request"));
        }
        let length = usize::try_from(message.bodyLength()).map_err(|_| damaged())?;
        rest = after.get(length..).ok_or_else(damaged)?;
    }
    Ok(())
}

/// Checks the columns. Very many columns, or values that share bytes with others, would take many
/// times the memory of the body.
fn check_columns(schema: &Schema) -> Result<(), String> {
    if schema.fields().len() > MOST_COLUMNS {
        return Err(format!("found {} columns, expected at most {MOST_COLUMNS}", schema.fields().len()));
    }
    let is_text = |values: &DataType| matches!(values, DataType::Utf8 | DataType::LargeUtf8);
    let mut names = HashSet::new();
    for field in schema.fields() {
        if !names.insert(field.name()) {
            return Err(format!("found two columns {:?}, expected names that differ", field.name()));
        }
        let is_plain = match field.data_type() {
            DataType::Utf8View | DataType::BinaryView | DataType::RunEndEncoded(..) => false,
            DataType::Dictionary(_, values) => is_text(values),
            other => !other.is_nested(),
        };
        if !is_plain {
            let (name, found) = (field.name(), field.data_type());
            return Err(format!(
                "column {name:?}: found {found}, expected numbers, booleans, text or dictionaries of text"
            ));
        }
    }
    Ok(())
}

fn decode(body: Bytes) -> Result<(SchemaRef, Vec<RecordBatch>), ArrowError> {
    let mut decoder = StreamDecoder::new();
    let mut buffer = Buffer::from(body);
    let mut batches = Vec::new();
    while let Some(batch) = decoder.decode(&mut buffer)? {
        batches.push(batch);
    }
    decoder.finish()?;
    let none = || ArrowError::ParseError("found no schema, expected an Arrow IPC stream".into());
    let schema = batches.first().map(RecordBatch::schema).or_else(|| decoder.schema()).ok_or_else(none)?;
    Ok((schema, batches))
}
