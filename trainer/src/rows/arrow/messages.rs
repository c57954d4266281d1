//! The messages of an Arrow stream: each is read whole, checked, then decoded.

use std::io::{self, Read};
use std::sync::Arc;

use arrow_array::RecordBatch;
use arrow_buffer::Buffer;
use arrow_ipc::reader::StreamDecoder;
use arrow_ipc::{MessageHeader, root_as_message, root_as_message_with_opts};
use arrow_schema::{ArrowError, Schema, SchemaRef};
use flatbuffers::VerifierOptions;

/// Magic of an Arrow file. At the start it is padded with zeros to a multiple of [`PADDED`]; an
/// Arrow stream, an index and the magic again follow.
pub(super) const ARROW_FILE: &[u8] = b"ARROW1";
const PADDED: usize = 8;

/// The marker before each message of an Arrow stream.
pub(super) const ARROW_STREAM: &[u8] = b"\xff\xff\xff\xff";

/// Upper limit of a batch in bytes, and of the uncompressed size that its buffers declare.
const MOST_BATCH_BYTES: u64 = 2 << 30;

/// Upper limit in bytes of a batch's metadata, which grows with its columns and not with its rows.
const MOST_DESCRIPTION_BYTES: usize = 64 << 20;

/// Skips the bytes before the stream in an Arrow file.
pub(super) fn without_magic(mut file: impl Read + Send + 'static) -> io::Result<Box<dyn Read + Send>> {
    let mut padded = [0; PADDED];
    file.read_exact(&mut padded)?;
    loop {
        file.read_exact(&mut padded)?;
        if padded != [0; PADDED] {
            return Ok(Box::new(io::Cursor::new(padded).chain(file)));
        }
    }
}

/// The batches of an Arrow stream, or of the stream inside an Arrow file.
///
/// A message is decoded only after all of it was read and the lengths in it were checked: a decoder
/// that trusts false lengths tries to allocate more memory than any machine has.
pub(super) struct Messages {
    reader: Box<dyn Read + Send>,
    is_file: bool,
    decoder: StreamDecoder,
    /// Bytes read but not given to the decoder yet.
    ahead: Vec<u8>,
    /// Bytes of the current message that the decoder has not consumed.
    message: Buffer,
    /// Whether the current message is the end marker.
    is_end: bool,
    /// The first batch: decoded early to learn the schema, but not returned yet.
    first: Option<RecordBatch>,
    is_at_end: bool,
}

impl Messages {
    pub(super) fn new(reader: impl Read + Send + 'static, is_file: bool) -> Result<Self, ArrowError> {
        let decoder = StreamDecoder::new();
        let reader = Box::new(reader);
        let mut messages = Self {
            reader,
            is_file,
            decoder,
            ahead: Vec::new(),
            message: Buffer::default(),
            is_end: false,
            first: None,
            is_at_end: false,
        };
        while messages.decoder.schema().is_none() && messages.first.is_none() && !messages.is_at_end {
            messages.first = messages.decode()?;
        }
        if messages.decoder.schema().is_none() {
            return Err(ArrowError::IpcError("it contains no table".into()));
        }
        Ok(messages)
    }

    pub(super) fn schema(&self) -> SchemaRef {
        self.decoder.schema().unwrap_or_else(|| Arc::new(Schema::empty()))
    }

    /// Returns the next batch of the current message. Without one, reads the next message, or
    /// reaches the end, and returns `None`.
    fn decode(&mut self) -> Result<Option<RecordBatch>, ArrowError> {
        // The decoder returns a batch without a body when the next message comes, and leaves that
        // message unread.
        while !self.message.is_empty() {
            if let Some(batch) = self.decoder.decode(&mut self.message)? {
                return Ok(Some(batch));
            }
        }
        if self.is_end {
            self.is_at_end = true;
            self.check_tail()?;
            return Ok(None);
        }
        let length = loop {
            if let Some(length) = message_bytes(&self.ahead)?
                && self.ahead.len() >= length
            {
                break length;
            }
            if self.read()? > 0 {
                continue;
            }
            if self.is_file || !self.ahead.is_empty() {
                self.is_at_end = true;
                return Err(cut_short());
            }
            // A stream may end without its end marker, between two messages.
            self.ahead.extend(END);
        };
        let rest = self.ahead.split_off(length);
        let message = std::mem::replace(&mut self.ahead, rest);
        check_compressed(&message)?;
        self.is_end = length <= END.len();
        self.message = Buffer::from(message);
        Ok(None)
    }

    /// Checks the bytes after the batches. They are part of the hashed bytes.
    fn check_tail(&mut self) -> Result<(), ArrowError> {
        while self.read()? > 0 {
            if !self.is_file {
                break;
            }
            self.ahead.drain(..self.ahead.len().saturating_sub(ARROW_FILE.len()));
        }
        match self.is_file {
            true if self.ahead.ends_with(ARROW_FILE) => Ok(()),
            true => Err(cut_short()),
            false if self.ahead.is_empty() => Ok(()),
            false => Err(ArrowError::IpcError("there are bytes after its end, expected a single stream".into())),
        }
    }

    /// Reads some bytes. Returns how many; 0 at the end.
    fn read(&mut self) -> io::Result<usize> {
        const MOST: usize = 1 << 16;
        let held = self.ahead.len();
        self.ahead.resize(held + MOST, 0);
        // One read returns what a pipe holds now: more may come much later.
        let read = loop {
            match self.reader.read(self.ahead.get_mut(held..).unwrap_or_default()) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                read => break read,
            }
        };
        self.ahead.truncate(held + read.as_ref().map_or(0, |length| *length));
        read
    }
}

/// The end of a stream: the marker of a message and a length of 0.
const END: [u8; 8] = [0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0];

/// Returns the length of the message at the start of `bytes`; `None` if too few bytes are there to
/// know it.
fn message_bytes(bytes: &[u8]) -> Result<Option<usize>, ArrowError> {
    let Some((description, body_at)) = description(bytes) else { return Ok(None) };
    if body_at > MOST_DESCRIPTION_BYTES {
        return Err(too_large(i64::try_from(body_at).unwrap_or(i64::MAX)));
    }
    if description == Some(&[][..]) {
        return Ok(Some(body_at));
    }
    let Some(description) = description else { return Ok(None) };
    // Parts of the metadata may share bytes, so that their apparent size exceeds the real one.
    let limits = VerifierOptions { max_apparent_size: MOST_DESCRIPTION_BYTES, ..VerifierOptions::default() };
    let message =
        root_as_message_with_opts(&limits, description).map_err(|error| ArrowError::IpcError(error.to_string()))?;
    let length = u64::try_from(message.bodyLength()).ok().filter(|length| *length <= MOST_BATCH_BYTES);
    match length.and_then(|length| usize::try_from(length).ok()) {
        Some(length) => Ok(Some(body_at + length)),
        None => Err(too_large(message.bodyLength())),
    }
}

/// Returns the metadata of a message and where its body begins; `None` before its length is there.
/// The metadata is `None` until all of it is there, and empty for the end marker.
fn description(bytes: &[u8]) -> Option<(Option<&[u8]>, usize)> {
    // Arrow before version 0.15 had no marker.
    let at = if bytes.starts_with(ARROW_STREAM) { ARROW_STREAM.len() } else { 0 };
    let length = u32::from_le_bytes(*bytes.get(at..)?.first_chunk()?) as usize;
    let (start, end) = (at + size_of::<u32>(), at + size_of::<u32>() + length);
    Some((bytes.get(start..end), end))
}

/// Checks the uncompressed lengths that the compressed buffers of a whole message declare. Each
/// length stands before its buffer.
fn check_compressed(message: &[u8]) -> Result<(), ArrowError> {
    let Some((Some(description), body_at)) = description(message) else { return Ok(()) };
    let Ok(header) = root_as_message(description) else { return Ok(()) };
    let batch = match header.header_type() {
        MessageHeader::RecordBatch => header.header_as_record_batch(),
        MessageHeader::DictionaryBatch => header.header_as_dictionary_batch().and_then(|batch| batch.data()),
        _ => None,
    };
    let Some((batch, body)) = batch.filter(|batch| batch.compression().is_some()).zip(message.get(body_at..)) else {
        return Ok(());
    };
    let mut whole = 0_u64;
    for buffer in batch.buffers().into_iter().flatten().filter(|buffer| buffer.length() > 0) {
        let at = usize::try_from(buffer.offset()).unwrap_or(usize::MAX);
        let length = body.get(at..).and_then(|body| body.first_chunk()).map(|length| i64::from_le_bytes(*length));
        // -1 means that the buffer is not compressed. The decoder refuses buffers outside of the
        // body.
        let length = length.filter(|length| *length != -1).unwrap_or_default();
        whole = whole.saturating_add(u64::try_from(length).unwrap_or(u64::MAX));
        if whole > MOST_BATCH_BYTES {
            return Err(too_large(length));
        }
    }
    Ok(())
}

fn too_large(found: i64) -> ArrowError {
    ArrowError::IpcError(format!(
        "found a batch of {found} bytes, expected at most {MOST_BATCH_BYTES}; write smaller batches, or copy it again if it is damaged"
    ))
}

fn cut_short() -> ArrowError {
    ArrowError::IpcError("it ends too early".into())
}

impl Iterator for Messages {
    type Item = Result<RecordBatch, ArrowError>;

    fn next(&mut self) -> Option<Self::Item> {
        if let Some(batch) = self.first.take() {
            return Some(Ok(batch));
        }
        while !self.is_at_end {
            if let Some(batch) = self.decode().transpose() {
                return Some(batch);
            }
        }
        None
    }
}
