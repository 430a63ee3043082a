// A window whose page comes by `app:`. From `file:` a page may load neither modules nor weights.
import { app, BrowserWindow, protocol } from 'electron';
import { respond } from './files.js';

protocol.registerSchemesAsPrivileged([{ scheme: 'app', privileges: { standard: true, secure: true, supportFetchAPI: true, stream: true, codeCache: true } }]);

app.whenReady().then(() => {
  protocol.handle('app', respond);
  new BrowserWindow({ width: 480, height: 640 }).loadURL('app://classifier/index.html');
});
app.on('window-all-closed', () => app.quit());
