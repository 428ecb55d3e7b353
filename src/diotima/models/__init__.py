"""Who speaks: one protocol, ``await model.reply(messages, sampling)``, and the back ends behind it.

Replies wanted at the same moment are gathered into batches here, below the lessons that ask for them.
"""
