//! Messages that are encoded already, for programs that send very many alike.

use std::time::Duration;

use aumbry_api::failure_of;
use aumbry_api::v1::Failure;
use http::uri::PathAndQuery;
use prost::bytes::{Buf as _, BufMut as _, Bytes};
use tonic::client::Grpc;
use tonic::codec::{BufferSettings, Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::metadata::{Ascii, MetadataValue};
use tonic::{Request, Status};

use crate::connection::Authorized;
use crate::{Client, Error};

/// A method of a client's first endpoint that takes encoded messages. It tries once and adds nothing to the message; the client's
/// timeout is told to the server, and whoever calls keeps it.
#[derive(Clone)]
pub struct Encoded {
    channel: Authorized,
    method: PathAndQuery,
    timeout: MetadataValue<Ascii>,
}

impl Client {
    /// A method by its name, such as `/aumbry.v1.KvService/Get`.
    ///
    /// # Errors
    /// [`Error::Configuration`] if the name has another form.
    #[doc(hidden)]
    pub fn encoded(&self, method: &'static str) -> Result<Encoded, Error> {
        let wrong = |_| Error::Configuration("a method is /package.Service/Method".to_owned());
        Ok(Encoded {
            channel: self.connection(None)?,
            method: PathAndQuery::from_maybe_shared(method).map_err(wrong)?,
            timeout: header(self.timeout()),
        })
    }
}

impl Encoded {
    /// Sends a message; gives the encoded reply.
    ///
    /// # Errors
    /// The failure that the server or the transport tells.
    pub async fn call(&self, message: Bytes) -> Result<Bytes, Failure> {
        let mut request = Request::new(message);
        request.metadata_mut().insert("grpc-timeout", self.timeout.clone());
        let mut grpc = Grpc::new(self.channel.clone()).max_decoding_message_size(REPLY_BYTES_MAX);
        let answer = async {
            grpc.ready().await?;
            grpc.unary(request, self.method.clone(), AsItIs).await
        };
        answer
            .await
            .map(tonic::Response::into_inner)
            .map_err(|status: Status| failure_of(&status))
    }
}

fn header(timeout: Duration) -> MetadataValue<Ascii> {
    let micros = timeout.as_micros().min(TIMEOUT_DIGITS_MAX);
    format!("{micros}u").parse().expect("digits and a letter are a header")
}

/// Takes bytes for messages.
struct AsItIs;

impl Codec for AsItIs {
    type Encode = Bytes;
    type Decode = Bytes;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for AsItIs {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, message: Bytes, to: &mut EncodeBuf<'_>) -> Result<(), Status> {
        to.put(message);
        Ok(())
    }

    fn buffer_settings(&self) -> BufferSettings {
        BufferSettings::new(BUFFER_BYTES, YIELD_BYTES)
    }
}

impl Decoder for AsItIs {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, from: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        Ok(Some(from.copy_to_bytes(from.remaining())))
    }

    fn buffer_settings(&self) -> BufferSettings {
        BufferSettings::new(BUFFER_BYTES, YIELD_BYTES)
    }
}

/// A common request or reply fits into the first; the default is made for larger ones.
const BUFFER_BYTES: usize = 2 << 10;
/// As by default.
const YIELD_BYTES: usize = 32 << 10;
/// What a server sends at most.
const REPLY_BYTES_MAX: usize = 64 << 20;
/// The protocol gives a timeout eight digits.
const TIMEOUT_DIGITS_MAX: u128 = 99_999_999;
