// What <openssl/core_dispatch.h> has since OpenSSL 3.4, for a module that is built with an older
// one and loaded by a newer one (provider-signature(7)).
#pragma once

#include <openssl/core_dispatch.h>

#ifndef OSSL_FUNC_SIGNATURE_QUERY_KEY_TYPES
#define OSSL_FUNC_SIGNATURE_QUERY_KEY_TYPES 26
#define OSSL_FUNC_SIGNATURE_SIGN_MESSAGE_INIT 27
#define OSSL_FUNC_SIGNATURE_SIGN_MESSAGE_UPDATE 28
#define OSSL_FUNC_SIGNATURE_SIGN_MESSAGE_FINAL 29
#define OSSL_FUNC_SIGNATURE_VERIFY_MESSAGE_INIT 30
#define OSSL_FUNC_SIGNATURE_VERIFY_MESSAGE_UPDATE 31
#define OSSL_FUNC_SIGNATURE_VERIFY_MESSAGE_FINAL 32

using OSSL_FUNC_signature_query_key_types_fn = const char**();
using OSSL_FUNC_signature_sign_message_init_fn = int(void* ctx, void* key,
                                                     const OSSL_PARAM params[]);
using OSSL_FUNC_signature_sign_message_update_fn = int(void* ctx, const unsigned char* data,
                                                       size_t size);
using OSSL_FUNC_signature_sign_message_final_fn = int(void* ctx, unsigned char* signature,
                                                      size_t* size, size_t room);
using OSSL_FUNC_signature_verify_message_init_fn = OSSL_FUNC_signature_sign_message_init_fn;
using OSSL_FUNC_signature_verify_message_update_fn = OSSL_FUNC_signature_sign_message_update_fn;
using OSSL_FUNC_signature_verify_message_final_fn = int(void* ctx);
#endif
