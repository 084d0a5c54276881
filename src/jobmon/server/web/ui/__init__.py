"""The pages that people look at in a browser: HTML made by the server, kept up to date by server-sent events.

What is where
-------------
``browser``      who sits at a browser: cookies, signing in, and what keeps other sites from pressing our buttons
``page_router``  from a plain function to a page; ``actions`` likewise to a form that asks before it changes something
``rendering``    templates, and the words they have for numbers, times and states
``live``         parts of pages that change by themselves: drawn once, sent to everybody who watches
``computed``     figures that take long: worked out beside the requests, shown with their age
``pages/``       one module for each group of pages: reads, and hands values to a template
``drawing/``     pure functions from values to SVG
``templates/``   Jinja; ``static/`` the stylesheet, our script, and other people's under ``vendor/``

Rules: a page reads in one transaction with a bounded number of statements, whatever the size of the workflow; everything can be
read without JavaScript; every text is escaped by the template; nothing is loaded from elsewhere.
"""
