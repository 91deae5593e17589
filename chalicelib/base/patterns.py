"""The forms that texts of a request may be asked to have, and how each is told to who sent another."""

NO_NUL = r"^[^\x00]*$"
# Nothing that breaks a line of a file name or of a mail's subject.
ONE_LINE = r"^[^\x00-\x1f\x7f]*$"
SOMETHING = r"^[^\x00]*\S[^\x00]*$"
EMAIL = r"^[^@\s\x00-\x1f<>,;\"]+@[^@\s\x00-\x1f<>,;\"]+$"
PARTICIPANT_ID = r"^[A-Za-z0-9._:@|+=~-]{1,128}$"
CONVERSATION_ID = r"^[A-Za-z0-9._-]{1,64}$"

SENTENCES = {
    NO_NUL: "must not hold a NUL character",
    ONE_LINE: "must be a single line without control characters",
    SOMETHING: "must hold something to see, and no NUL character",
    EMAIL: "must be an e-mail address such as ada@example.org",
    PARTICIPANT_ID: "must be 1 to 128 letters, digits and . _ : @ + = ~ - |",
    CONVERSATION_ID: "must be 1 to 64 letters, digits and . _ -",
}
